"""The tiny model's tokenizer: one token per byte, so one per character of ASCII text."""

from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer

from opo_eval.tiny.model import CONTEXT_LENGTH

# Outside ASCII, so that no ASCII text can spell a special token.
PAD, END_OF_TEXT = "␀", "␃"


def build_tokenizer() -> Qwen2Tokenizer:
    """Build Qwen2's tokenizer without a single merge: padding, end of text, then the 256 bytes.

    Every text has a token for each of its UTF-8 bytes (after Unicode NFC, as in all of Qwen2's), so there
    is no unknown token. The class is Qwen2's own because transformers loads a Qwen2 checkpoint's
    tokenizer as that class whatever its files say. Padding goes to the left, where batched generation
    needs it.
    """
    bytes_as_text = sorted(ByteLevel.alphabet())
    return Qwen2Tokenizer(
        vocab={token: place for place, token in enumerate((PAD, END_OF_TEXT, *bytes_as_text))},
        merges=[],
        pad_token=PAD,
        eos_token=END_OF_TEXT,
        unk_token=None,
        padding_side="left",
        model_max_length=CONTEXT_LENGTH,
    )
