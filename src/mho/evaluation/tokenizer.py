"""Text to tokens and back, by the tokenizers of `transformers`, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mho.errors import ConfigError, InputFileError


class Tokenizer(Protocol):
    """What tokenizers of `transformers` do, as far as it is used here."""

    eos_token_id: int | None

    def encode(self, text: str, /) -> Sequence[int]:
        """Return the tokens of a text."""

    def decode(self, tokens: Sequence[int], /) -> str:
        """Return the text of tokens."""


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that lies in a folder (tokenizer.json, tokenizer_config.json). Nothing is downloaded.

    Raises:
        ConfigError: `transformers` is missing.
        InputFileError: there is no tokenizer.
    """
    path = Path(folder)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError(
            f"tokenizers need transformers: {error}", where=str(folder), expected="the extra `language`",
            hint="pip install 'mho[language]', or give token ids (--prompt-tokens)",
        ) from error  # fmt: skip
    if not path.is_dir():
        raise InputFileError("no folder", where=str(folder), expected="the folder of a tokenizer of transformers")
    try:
        loaded: Any = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # whatever transformers raises for files of others
        lines = str(error).strip().splitlines()
        raise InputFileError(
            f"no tokenizer: {lines[0] if lines else type(error).__name__}", where=str(folder),
            expected="tokenizer.json and tokenizer_config.json",
        ) from error  # fmt: skip
    tokenizer: Tokenizer = loaded
    return tokenizer
