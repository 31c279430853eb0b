import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mho.data import Dataset, DataSpec, Split, load_dataset
from mho.data.images import FORMATS
from mho.data.named import CIFAR10_CLASSES
from mho.errors import ConfigError, DataError, InputFileError
from mho.task.task import CLASSIFICATION, Task


def load(tmp_path: Path, task: Task = CLASSIFICATION, **spec) -> Dataset:
    spec = {"calibration": 2, "validation": 2, **spec}
    return load_dataset(DataSpec(**spec), np.random.default_rng(7), tmp_path / "cache", task)


def write_folder(root: Path, parts=("train", "test"), classes=("cat", "dog"), count=4, size=(6, 5)) -> None:
    generator = np.random.default_rng(0)
    for part in parts:
        for label in classes:
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number}.png")


def write_npz(path: Path, **changes) -> Path:
    generator = np.random.default_rng(0)
    arrays = {
        "x_train": generator.random((12, 1, 4, 4), dtype=np.float32),
        "y_train": np.arange(12) % 3,
        "x_test": generator.random((6, 1, 4, 4), dtype=np.float32),
        "y_test": np.arange(6) % 3,
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_digits_are_cut_into_splits_that_share_no_image(tmp_path):
    data = load(tmp_path, name="digits", calibration=200, validation=300)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 797,
        "calibration": 200,
        "validation": 300,
        "test": 500,
    }
    assert data.sample_shape == (1, 8, 8)
    assert data.classes == 10
    everything = np.concatenate([split.images for split in data.splits.values()]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797


def test_the_same_generator_gives_the_same_splits_and_test_images_never_change(tmp_path):
    spec = DataSpec(name="digits", calibration=50, validation=50)
    first, second, third = (load_dataset(spec, np.random.default_rng(seed), tmp_path) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert not np.array_equal(first.validation.images, third.validation.images)
    np.testing.assert_array_equal(first.test.images, third.test.images)


def test_a_limit_shortens_training_only(tmp_path):
    data = load(tmp_path, name="digits", limit=100, calibration=20)
    assert len(data.train) == 100
    assert len(data.calibration) == 20
    assert len(data.test) == 500


def test_inputs_are_scaled_and_normalized_by_channel():
    images = np.array([0, 255], dtype=np.uint8).reshape(1, 2, 1, 1)
    split = Split(images, np.zeros(1, dtype=np.int64), mean=(0.5, 0.25), std=(0.5, 0.25))
    np.testing.assert_allclose(split.inputs(slice(None)).ravel(), [-1.0, 3.0], rtol=1e-6)


def test_spread_takes_samples_from_the_whole_split():
    split = Split(np.zeros((10, 1), np.float32), np.arange(10), (0.0,), (1.0,))
    assert split.spread(5).labels.tolist() == [0, 2, 4, 6, 8]
    assert len(split.spread(99)) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (0.0, 1.0)}, "mean has 2 numbers"),
        ({"std": (0.0,)}, "std"),
        ({"labels": np.zeros(3, np.int64)}, "labels of shape"),
        ({"images": np.zeros((2, 1, 2, 2), np.int16)}, "int16"),
        ({"images": np.zeros((2, 1, 2, 2), np.int32)}, "mean and std for whole numbers"),
    ],
)
def test_a_split_refuses_what_does_not_fit(changes, message):
    good = {
        "images": np.zeros((2, 1, 2, 2), np.float32),
        "labels": np.zeros(2, np.int64),
        "mean": (0.0,),
        "std": (1.0,),
    }
    with pytest.raises(DataError, match=message):
        Split(**{**good, **changes})


def test_an_npz_is_read_and_normalized_by_its_training_images(tmp_path):
    data = load(tmp_path, name="npz", root=write_npz(tmp_path / "data.npz"))
    inputs = data.train.inputs(slice(None))
    assert data.classes == 3
    assert inputs.shape == (8, 1, 4, 4)
    assert abs(float(inputs.mean())) < 1e-5
    assert float(inputs.std()) == pytest.approx(1.0, abs=1e-4)


LANGUAGE = Task("language-modelling")


def tokens(dtype=np.int64, shape=(12, 5)) -> dict[str, np.ndarray]:
    """Return whole numbers from 0 to 6, and as targets the next ones."""
    numbers = (np.arange(np.prod(shape)) % 7).reshape(shape)
    train = {"x_train": numbers.astype(dtype), "y_train": (numbers + 1) % 7}
    return {**train, "x_test": train["x_train"][:6], "y_test": train["y_train"][:6]}


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint32, np.uint8])
@pytest.mark.parametrize("shape", [(12, 5), (12, 2, 3)])
def test_tokens_are_taken_as_they_are(tmp_path, dtype, shape):
    data = load(tmp_path, LANGUAGE, name="npz", root=write_npz(tmp_path / "d.npz", **tokens(dtype, shape)))
    assert (data.train.images.dtype, data.train.normalization, data.classes) == (np.int32, (), 7)
    found = np.sort(data.train.inputs(slice(None)), axis=0)
    assert found.dtype == np.float32
    everything = np.concatenate([data.splits[name].images for name in ("train", "calibration", "validation")])
    np.testing.assert_array_equal(np.sort(everything, axis=0), np.sort(tokens(dtype, shape)["x_train"], axis=0))


def test_vectors_of_whole_numbers_are_tokens_of_a_classifier(tmp_path):
    numbers = {f"x_{part}": tokens()[f"x_{part}"] for part in ("train", "test")}
    data = load(tmp_path, name="npz", root=write_npz(tmp_path / "d.npz", **numbers))
    assert (data.train.images.dtype, data.train.mean) == (np.int32, None)


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"x_train": tokens()["x_train"] + (1 << 24)}, {}, "whole numbers from 16777216 to 16777222"),
        ({"x_train": tokens(np.float32)["x_train"]}, {}, "samples of type float32.*"),
        ({"x_train": np.array([["a"] * 5] * 12)}, {}, "samples of type <U1"),
        ({"y_train": tokens()["y_train"][:, 0]}, {}, r"shape \[12\] for language-modelling"),
        ({"y_train": tokens()["y_train"].astype(np.float32)}, {}, "targets of type float32"),
        ({"y_test": tokens()["y_test"][:, :4]}, {}, r"y_test is int64 \(6, 4\)"),
        ({"y_train": tokens()["y_train"] - 1}, {}, "label -1"),
        ({}, {"mean": (0.0,), "std": (1.0,)}, "data.mean and data.std for whole numbers"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, changes, spec, message):
    path = write_npz(tmp_path / "d.npz", **{**tokens(), **changes})
    with pytest.raises((DataError, ConfigError), match=message):
        load(tmp_path, LANGUAGE, name="npz", root=path, **spec)


def nan_images() -> np.ndarray:
    images = np.zeros((12, 1, 4, 4), np.float32)
    images[5, 0, 1, 1] = np.nan
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test missing"),
        ({"x_train": nan_images()}, "sample 5 holds NaN"),
        ({"x_train": nan_images().astype(np.float64) * 1e300}, "sample 5 holds NaN"),
        ({"x_train": np.full((20, 1, 8, 8), 1e300)}, r"numbers as large as 1e\+300"),
        ({"y_train": np.arange(12) - 1}, "label -1 of sample 0"),
        ({"y_train": np.arange(11) % 3}, "12 images and 11 labels"),
        ({"y_train": np.zeros(12)}, "float64"),
        ({"y_train": np.arange(12) % 2}, "class 2"),
        ({"x_test": np.zeros((6, 1, 5, 4), np.float32)}, r"x_test is float32 \(6, 1, 5, 4\)"),
        ({"x_train": np.zeros((12, 1, 4, 4), np.int32)}, "int32"),
        ({"x_train": np.array([None] * 12)}, "object"),
    ],
)
def test_an_npz_with_wrong_arrays_is_refused(tmp_path, changes, message):
    path = write_npz(tmp_path / "data.npz", **changes)
    with pytest.raises((DataError, InputFileError), match=message) as caught:
        load(tmp_path, name="npz", root=path)
    assert "data.npz" in str(caught.value)


def test_a_file_that_is_missing_or_not_npz_is_refused(tmp_path):
    with pytest.raises(InputFileError, match=r"absent\.npz"):
        load(tmp_path, name="npz", root=tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputFileError, match="damaged"):
        load(tmp_path, name="npz", root=tmp_path / "text.npz")


def test_an_image_folder_gives_classes_by_folder_and_is_decoded_once(tmp_path, monkeypatch):
    write_folder(tmp_path / "data", parts=("train", "val", "test"))
    data = load(tmp_path, name="image-folder", root=tmp_path / "data")
    assert data.class_names == ("cat", "dog")
    assert data.sample_shape == (3, 5, 6)
    assert (len(data.train), len(data.calibration), len(data.validation), len(data.test)) == (6, 2, 8, 8)
    monkeypatch.setattr("mho.data.images.Image.open", None)
    again = load(tmp_path, name="image-folder", root=tmp_path / "data")
    np.testing.assert_array_equal(again.train.images, data.train.images)


def test_a_damaged_cache_is_made_anew(tmp_path):
    write_folder(tmp_path / "data")
    data = load(tmp_path, name="image-folder", root=tmp_path / "data")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    again = load(tmp_path, name="image-folder", root=tmp_path / "data")
    np.testing.assert_array_equal(again.test.images, data.test.images)


def test_images_are_resized_and_cropped(tmp_path):
    write_folder(tmp_path / "data", size=(20, 10))
    data = load(tmp_path, name="image-folder", root=tmp_path / "data", resize=8, crop=6, channels=1)
    assert data.sample_shape == (1, 6, 6)


def test_a_broken_image_is_named(tmp_path):
    write_folder(tmp_path / "data")
    broken = tmp_path / "data" / "train" / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError, match=r"train/dog/2\.png: broken image"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")


@pytest.mark.parametrize("kind", ["EPS", "DDS", "AVIF", "GIF", "TGA", "ICNS"])
def test_only_the_documented_formats_are_decoded(tmp_path, kind):
    """Some of Pillow's other readers start programs (EPS), others raise whatever they like on damaged files."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip("this version of Pillow does not know it")
    write_folder(tmp_path / "data")
    disguised = tmp_path / "data" / "train" / "dog" / "2.png"
    Image.new("RGB", (6, 5)).save(disguised, format=kind)
    with pytest.raises(DataError, match=r"train/dog/2\.png: not an image"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_documented_format_is_decoded_whatever_the_name(tmp_path, kind):
    write_folder(tmp_path / "data")
    Image.new("RGB", (6, 5), (1, 2, 3)).save(tmp_path / "data" / "train" / "dog" / "2.png", format=kind)
    assert load(tmp_path, name="image-folder", root=tmp_path / "data").sample_shape == (3, 5, 6)


def test_an_image_of_another_size_is_named(tmp_path):
    write_folder(tmp_path / "data")
    Image.new("RGB", (9, 9)).save(tmp_path / "data" / "test" / "cat" / "1.png")
    with pytest.raises(DataError, match=r"test/cat/1\.png: image is 9x9"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")


def test_an_empty_class_and_a_class_without_training_images_are_named(tmp_path):
    write_folder(tmp_path / "data")
    (tmp_path / "data" / "test" / "emu").mkdir()
    with pytest.raises(DataError, match="emu: class folder without images"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")
    Image.new("RGB", (6, 5)).save(tmp_path / "data" / "test" / "emu" / "1.png")
    with pytest.raises(DataError, match="'emu' has no training image"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")


def test_a_folder_without_test_images_needs_a_number_to_set_aside(tmp_path):
    write_folder(tmp_path / "data", parts=("train",))
    with pytest.raises(DataError, match="there is no test set"):
        load(tmp_path, name="image-folder", root=tmp_path / "data")
    assert len(load(tmp_path, name="image-folder", root=tmp_path / "data", test=3).test) == 3


def test_splits_that_leave_nothing_to_train_on_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"lower data\.calibration and data\.validation .*, to 2 for example"):
        load(tmp_path, name="npz", root=write_npz(tmp_path / "d.npz"), calibration=10)


def write_idx(path: Path, array: np.ndarray, *, cut: int = 0) -> None:
    content = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    content = content[: len(content) - cut]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("folder", "suffix"), [("", ".gz"), ("FashionMNIST/raw", "")])
def test_fashion_mnist_is_read_in_both_layouts(tmp_path, folder, suffix):
    base = tmp_path / "data" / folder
    base.mkdir(parents=True)
    for stem, count in (("train", 20), ("t10k", 10)):
        write_idx(base / f"{stem}-images-idx3-ubyte{suffix}", np.full((count, 28, 28), 9))
        write_idx(base / f"{stem}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)
    data = load(tmp_path, name="fashion-mnist", root=tmp_path / "data")
    assert data.sample_shape == (1, 28, 28)
    assert data.test.labels.tolist() == list(range(10))
    assert data.class_names[9] == "ankle boot"


def test_a_truncated_idx_file_is_named(tmp_path):
    for stem in ("train", "t10k"):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", np.zeros((3, 28, 28)), cut=5)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.zeros(3))
    with pytest.raises(InputFileError, match=r"train-images-idx3-ubyte\.gz: IDX file is truncated"):
        load(tmp_path, name="fashion-mnist", root=tmp_path)


def test_a_missing_fashion_mnist_says_how_to_get_it(tmp_path):
    with pytest.raises(InputFileError, match="apt-get install dataset-fashion-mnist"):
        load(tmp_path, name="fashion-mnist", root=tmp_path)


def cifar_batches() -> dict[str, bytes]:
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    return {name: records.tobytes() for name in names}


def test_cifar10_is_read_from_its_binary_folder_and_archive(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, content in cifar_batches().items():
            (folder / name).write_bytes(content)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    for root in (folder, tmp_path, tmp_path / "cifar.tar.gz"):
        data = load(tmp_path, name="cifar10", root=root)
        assert (len(data.train), len(data.test), data.sample_shape) == (49_996, 10_000, (3, 32, 32))
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(InputFileError, match=r"test_batch\.bin: holds 5 bytes"):
        load(tmp_path, name="cifar10", root=folder)


def test_cifar10_is_read_from_an_archive_of_images_that_is_never_unpacked(tmp_path):
    write_folder(tmp_path / "images", classes=CIFAR10_CLASSES, count=1, size=(32, 32))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "images" / "train", "../outside/train")
        archive.add(tmp_path / "images" / "test", "../outside/test")
    with pytest.raises(DataError, match="no training images"):
        load(tmp_path, name="cifar10", root=tmp_path / "images.tar.gz")
    with tarfile.open(tmp_path / "good.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "images" / "train", "train")
        archive.add(tmp_path / "images" / "test", "test")
    data = load(tmp_path, name="cifar10", root=tmp_path / "good.tar.gz")
    assert (len(data.train), data.class_names) == (6, CIFAR10_CLASSES)
    np.testing.assert_array_equal(
        data.test.images, load(tmp_path, name="cifar10", root=tmp_path / "images").test.images
    )


def test_cifar10_as_pickles_is_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="pickles"):
        load(tmp_path, name="cifar10", root=tmp_path)
