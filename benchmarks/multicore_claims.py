"""Two claims that are made of low precision without a source, checked in this model.

- Ternary weights are said to save 82 % of the energy of 8-bit weights: by activation width and component, on ISAAC
  and PUMA, weights staying in crossbars. Leakage and transfers between cores are left out.
- Found policies are said to be 4.2 times faster than 16/16: the published policy of VGG-16, and one of its kind.
"""

from __future__ import annotations

from paper import make_policy
from rich.console import Console
from rich.table import Table

from mho.cache_folder import cache_folder
from mho.cost_model.energy import Component, EnergyBreakdown, add_energies, price_activity
from mho.cost_model.latency import cost_network
from mho.cost_model.layer_tables import load_layer_table
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.activity import count_activity
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.options import list_network_options

NETWORKS = ("torchvision:vgg16", "torchvision:resnet18")
ENERGIES = ("isaac", "puma")
ACTIVATIONS = (8, 7, 6, 5, 4, 3, 2)
COMPONENTS = (Component.CROSSBAR, Component.ADC, Component.DAC, Component.DIGITAL, Component.BUFFER)
TERNARY = 2
"""Weight bits of {-1, 0, +1}."""


def report(console: Console, quick: bool) -> None:
    for name in NETWORKS[1:] if quick else NETWORKS:
        layers = load_layer_table(name, input_shape=None, cache=cache_folder()).layers
        for preset in ENERGIES:
            console.print(tabulate_energy(name, layers, load_accelerator(preset)))
    console.print(tabulate_times(NETWORKS[1:] if quick else NETWORKS))


def tabulate_energy(name: str, layers: tuple[MvmLayer, ...], hardware: Accelerator) -> Table:
    reference = price(layers, BitWidths(8, 8), hardware)
    table = Table(
        title=f"{name.split(':')[-1]} on {hardware.name}: energy of one input, uJ\n"
        "(ternary weights are claimed to save 82 %)"
    )
    table.add_column("weights/activations")
    for title in ("all", *COMPONENTS):
        table.add_column(str(title), justify="right")
    table.add_row("8/8", f"{reference.total_pj / 1e6:,.1f}", *(tell(reference, one, reference) for one in COMPONENTS))
    for bits in ACTIVATIONS:
        energy = price(layers, BitWidths(TERNARY, bits), hardware)
        saved = f"{energy.total_pj / 1e6:,.1f} (-{1 - energy.total_aj / reference.total_aj:.1%})"
        table.add_row(f"ternary/{bits}", saved, *(tell(energy, one, reference) for one in COMPONENTS))
    return table


def price(layers: tuple[MvmLayer, ...], bits: BitWidths, hardware: Accelerator) -> EnergyBreakdown:
    """Return what one input takes with the mappings of fewest crossbars."""
    policy = Policy.uniform((layer.name for layer in layers), bits)
    mappings = [listed[0] for listed in list_network_options(layers, policy, hardware, MappingModel.BEST).values()]
    return add_energies(
        price_activity(count_activity(mapping, hardware, weights_stay=True), hardware, mapping.encoding)
        for mapping in mappings
    )


def tell(energy: EnergyBreakdown, component: Component, reference: EnergyBreakdown) -> str:
    found, before = energy.component_aj.get(component, 0), reference.component_aj.get(component, 0)
    if not before:
        return "-"
    text = f"{found / 1e12:,.1f}"
    return text if energy is reference else f"{text} (-{1 - found / before:.1%})"


def tabulate_times(networks: tuple[str, ...]) -> Table:
    hardware = load_accelerator("pelke2026-4bit")
    table = Table(title="policies against 16/16 and 8/8, pelke2026-4bit, one crossbar, ms\n(claimed: 4.2x over 16/16)")
    for title in ("network", "mapping", "16/16", "8/8", "policy", "over 16/16", "over 8/8"):
        table.add_column(title, justify="left" if title in ("network", "mapping") else "right")
    for name in networks:
        layers = load_layer_table(name, input_shape=None, cache=cache_folder()).layers
        names = [layer.name for layer in layers]
        uniform = [Policy.uniform(names, BitWidths(bits, bits)) for bits in (16, 8)]
        policies = [*uniform, make_policy(name.split(":")[-1], layers)]
        for model in (MappingModel.PAPER, MappingModel.BEST):
            times = [cost_network(layers, policy, hardware, model=model).latency_ps for policy in policies]
            gains = (f"{one / times[2]:.2f}x" for one in times[:2])
            table.add_row(name.split(":")[-1], model, *(f"{one / 1e9:,.1f}" for one in times), *gains)
    return table
