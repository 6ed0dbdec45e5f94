"""The functions of `import dalda`: options as keywords, and one sentence for each mistake."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dalda


def test_the_whole_flow_in_five_lines(tmp_path: Path) -> None:
    more = tmp_path / "more"
    assert dalda.inspect("doodles-iid", shots=1).split["train"] == 12
    made = dalda.augment("doodles", out=more, per_image=1, steps=2, shots=1, device="cpu")
    assert (made.generated, made.out) == (12, more)
    trained = dalda.train("doodles", synthetic=more, seeds=1, epochs=1, iterations=2, shots=1, device="cpu")
    assert "more" in trained.gains
    assert dalda.export(str(more), out=tmp_path / "set.csv", to="csv").synthetic == 12
    assert dalda.write_captions("doodles", out=tmp_path / "captions.json", per_class=1).captions


def test_a_configuration_is_taken_as_it_is(tmp_path: Path) -> None:
    config = dalda.EvaluateConfig(dataset="doodles", synthetic=tmp_path)
    with pytest.raises(dalda.UserError, match="has no"):
        dalda.evaluate(config)
    with pytest.raises(dalda.UserError, match="give 'seed' in the EvaluateConfig"):
        dalda.evaluate(config, seed=1)


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(dalda.UserError, match="no option 'per_imag'; did you mean 'per_image'"):
        dalda.augment("doodles", out=tmp_path / "x", per_imag=3)
    with pytest.raises(dalda.UserError, match="per_image cannot be 0"):
        dalda.augment("doodles", out=tmp_path / "x", per_image=0)
    with pytest.raises(dalda.UserError, match="there is no folder"):
        dalda.inspect(tmp_path / "nowhere")
    with pytest.raises(dalda.UserError, match=r"^'out' is missing; give it$"):
        dalda.augment("doodles")
    with pytest.raises(dalda.UserError, match=r"^the head lp\+\+ learns from all features at once"):
        dalda.train("doodles", head="lp++", epochs=3)
    captions: Any = {"boat": [b"a boat"]}
    with pytest.raises(dalda.UserError, match=r"is not text but .*b'a boat'"):
        dalda.augment("doodles", out=tmp_path / "x", captions=captions)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_onnxruntime_sends_nothing_unless_the_user_says_so(before: str | None, after: str) -> None:
    name = "ORT_DISABLE_TELEMETRY"
    given = {key: value for key, value in os.environ.items() if key != name}
    given |= {name: before} if before else {}
    script = f"import dalda, os; print(os.environ[{name!r}])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == after


def test_captions_may_be_given_as_they_are(tmp_path: Path) -> None:
    classes = dalda.load_dataset("doodles").classes
    captions = {label: [f"a {label} of my own"] for label in classes}
    dalda.augment("doodles", out=tmp_path / "x", captions=captions, shots=1, per_image=1, steps=1)
    assert {image.prompt for image in dalda.load(tmp_path / "x")} == {
        texts[0] for texts in captions.values()
    }
    with pytest.raises(dalda.UserError, match="captions has no captions for the class"):
        dalda.augment("doodles", out=tmp_path / "y", captions={classes[0]: ["a"]}, shots=1)
