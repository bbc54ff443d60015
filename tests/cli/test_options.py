"""Options of config groups: an unknown one gets the nearest, and what can be no name is refused."""

import pytest

from vaelab.cli.compose import composed
from vaelab.cli.hints import error_text
from vaelab.cli.options import check_options
from vaelab.errors import UserError


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("experiment=published/typo", "Valid names: published/vq_keras."),
        ("experiment=published/vqkeras", "Did you mean 'published/vq_keras'?"),
        ("experiment=publish/vq_keras", "Did you mean 'published/vq_keras'?"),
        ("experiment=vq_keras", "Did you mean 'published/vq_keras'?"),
        ("experiment=lecture/kl_weigth", "Did you mean 'lecture/kl_weight'?"),
        ("experiment=dmeo", "Did you mean 'demo'?"),
        ("experiment=typo", "Valid names: curve, demo, ppca."),
        ("model=ms_ssim", "No valid name is like it."),
        ("+model/objective=ms_sim", "Did you mean 'ms_ssim'?"),
    ],
)
def test_an_unknown_option_is_named_as_it_was_set(setting, text):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed("train", [setting])
    said = error_text(caught.value, [setting])
    assert said == f"{setting.lstrip('+')}: there is no such option. {text}"


def test_an_option_of_a_folder_is_named_so_in_a_sweep_too():
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed("train", ["experiment=lecture/path"])
    text = error_text(caught.value, ["-m", "experiment=demo,lecture/path"])
    assert text.startswith("experiment=lecture/path: there is no such option. ")


@pytest.mark.parametrize(
    "group",
    ["network", "data", "model", "trainer", "likelihood", "prior", "optimizer", "metrics", "callbacks"],
)
def test_a_group_without_an_option_names_the_key_and_where_its_options_are(group):
    with pytest.raises(
        UserError, match=rf"^{group}=null: must be the name of an option\. (One of|See --list)"
    ):
        composed("train", [f"{group}=null"])


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("optimizer=null", "optimizer=null: must be the name of an option. One of adam, adamw."),
        ("optimizer=[]", "optimizer=[]: must be the name of an option. One of adam, adamw."),
        ("optimizer=adam,null", "optimizer=null: must be the name of an option. One of adam, adamw."),
        ("optimizer=5", "optimizer=5: must be the name of an option. One of adam, adamw."),
        ("optimizer={lr: 1}", "optimizer={'lr': 1}: must be the name of an option. One of adam, adamw."),
        ("+model/objective=null", "model/objective=null: must be the name of an option. One of ms_ssim."),
        ("model=null", "model=null: must be the name of an option. See --list model."),
        ("~optimizer", "~optimizer: it can't be left out. One of adam, adamw."),
        ("sweep=null", ", or leave it out for none."),
    ],
)
def test_what_can_be_no_name_is_refused(setting, text):
    with pytest.raises(UserError) as caught:
        check_options(["-m", "seed=null", setting])
    assert str(caught.value).endswith(text)


@pytest.mark.parametrize(
    "setting",
    [
        "model=vae,ae",
        "network=glob(*conv)",
        "~experiment",
        "seed=null",
        "+schedule@model.beta=linear",
        "name=a(b",
    ],
)
def test_names_and_keys_pass(setting):
    check_options([setting])
