"""The shipped checkpoints: what the manifest says of them is so."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import opo_eval
from opo_eval.errors import UsageError
from opo_eval.problems import load_problems
from opo_eval.tabular import file_sha256
from opo_eval.tiny import CHECKPOINTS_DIR, TINY_CHECKPOINTS, checkpoint_path
from opo_eval.tiny.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def manifest():
    return json.loads((CHECKPOINTS_DIR / "manifest.json").read_text())


@pytest.fixture(scope="module")
def loaded():
    """Model and tokenizer of each checkpoint."""
    paths = {name: checkpoint_path(name) for name in TINY_CHECKPOINTS}
    return {
        name: (AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path))
        for name, path in paths.items()
    }


def test_unknown_name():
    with pytest.raises(UsageError) as caught:
        checkpoint_path("middle")
    assert str(caught.value) == (
        "no tiny checkpoint is named 'middle': shipped are early and late, so name one of them"
    )


def test_all_of_it_is_small():
    assert sum(file.stat().st_size for file in CHECKPOINTS_DIR.rglob("*") if file.is_file()) < 2_000_000


def test_every_file_is_in_the_package():
    root = Path(opo_eval.__file__).parent
    pyproject = tomllib.loads((root.parent / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["setuptools"]["package-data"]["opo_eval"]
    packed = {file for pattern in patterns for file in root.glob(pattern) if file.is_file()}
    files = {file for file in CHECKPOINTS_DIR.rglob("*") if file.is_file()}
    assert len(files) == 11 and files <= packed


def test_the_manifest_describes_the_files(manifest):
    assert manifest["checkpoints"].keys() == set(TINY_CHECKPOINTS)
    for name, described in manifest["checkpoints"].items():
        path = checkpoint_path(name)
        assert described["sha256"] == file_sha256(path / "model.safetensors")
        assert described["bytes"] == sum(file.stat().st_size for file in path.iterdir())
        assert f" {described['step']} " in manifest["command"]


def test_no_machine_is_named():
    text = "".join(file.read_text() for file in CHECKPOINTS_DIR.rglob("*.json"))
    assert not re.search("/(home|opt|root|tmp|usr|work|Users)/", text)


@pytest.mark.parametrize("name", TINY_CHECKPOINTS)
def test_they_load_as_hugging_face_checkpoints(loaded, name):
    model, tokenizer = loaded[name]
    assert model.dtype == torch.float32 and model.num_parameters() == 214_144
    assert model.model.layers[0].self_attn.head_dim == 32
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer.decode(tokenizer.encode("1 + 2\n= 3")) == "1 + 2\n= 3"
    ids = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert ids == {model.generation_config.eos_token_id, model.generation_config.pad_token_id}


def test_the_late_one_answers_in_a_box(loaded):
    model, tokenizer = loaded["late"]
    prompts = [f"{problem.prompt}=" for problem in load_problems("tiny-arith")]
    encoded = tokenizer(prompts, return_tensors="pt", padding=True)
    tokens = model.generate(**encoded, do_sample=False, max_new_tokens=64)
    texts = tokenizer.batch_decode(tokens[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    boxed = [text for text in texts if text.rpartition("=")[2].startswith(r"\boxed{") and text.endswith("}")]
    assert len(boxed) > 0.9 * len(prompts)


def test_late_is_better_than_early(manifest):
    early, late = (manifest["checkpoints"][name] for name in ("early", "late"))
    assert early["measured"]["pass@1"] < 0.7 * late["measured"]["pass@1"]
    assert early["measured"]["pass@16"] < late["measured"]["pass@16"]
    assert early["step"] < late["step"] and early["loss"] > late["loss"]
