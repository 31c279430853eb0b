import subprocess
import sys

PROGRAM = """
import resource, torch
from mho.quantization.allocator import keep_freed_memory
kept = keep_freed_memory()
for _ in range(5):
    torch.ones(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    torch.ones(4_000_000)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_kept_memory_is_not_mapped_anew_for_every_tensor() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    kept, faults = result.stdout.split()
    # 50 tensors of 16 MB are 195 000 pages of 4 kB.
    assert kept == "False" or int(faults) < 10_000
