"""The tokenizer: a token a byte, exact round trips, the same object after saving and loading."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from opo_eval.tiny.model import CONTEXT_LENGTH
from opo_eval.tiny.tokenizer import END_OF_TEXT, PAD, build_tokenizer

ASCII = "".join(map(chr, range(128)))
TEXTS = [
    ASCII,
    r"17+5-32=22-32=\boxed{-10}",
    "  two  spaces,\n\nn't 's . ! <|endoftext|> <pad> ",
    "é 漢字 🙂 −½",
]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip_with_one_token_a_byte(tokenizer, text):
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True) == text


def test_vocabulary_is_the_bytes_and_two_special_tokens(tokenizer):
    assert len(tokenizer) == 258
    assert sorted(tokenizer.get_vocab().values()) == list(range(258))
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, END_OF_TEXT)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.bos_token is tokenizer.unk_token is tokenizer.chat_template is None


def test_no_ascii_text_spells_a_special_token(tokenizer):
    assert not {0, 1} & set(tokenizer.encode(ASCII * 2))


def test_concatenated_texts_are_concatenated_tokens(tokenizer):
    text = TEXTS[2]
    whole = tokenizer.encode(text)
    assert all(
        tokenizer.encode(text[:cut]) + tokenizer.encode(text[cut:]) == whole for cut in range(len(text))
    )


def test_batches_are_padded_on_the_left(tokenizer):
    assert tokenizer(["1+2", "1"], padding=True)["input_ids"][1] == [0, 0, *tokenizer.encode("1")]
    assert tokenizer.model_max_length == CONTEXT_LENGTH


@pytest.mark.parametrize("loader", [AutoTokenizer, PreTrainedTokenizerFast])
def test_loaded_again_it_is_the_same(tokenizer, tmp_path, loader):
    tokenizer.save_pretrained(tmp_path)
    assert {"tokenizer.json", "tokenizer_config.json"} == {file.name for file in tmp_path.iterdir()}
    loaded = loader.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    for text in TEXTS:
        assert loaded.encode(text) == tokenizer.encode(text)
        assert loaded.decode(loaded.encode(text)) == text
