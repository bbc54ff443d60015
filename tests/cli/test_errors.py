from vaelab.errors import MOST_NAMES, did_you_mean, nearest

MODELS = ["vae", "beta_vae", "ae"]


def test_the_nearest_name():
    assert nearest("beta_vea", MODELS) == "beta_vae"
    assert nearest("vae", MODELS) == "vae"


def test_nothing_is_near_a_foreign_name():
    assert nearest("transformer", MODELS) is None
    assert nearest("vae", []) is None


def test_a_typo_gets_the_nearest_name():
    assert did_you_mean("betavae", MODELS) == "Did you mean 'beta_vae'?"


def test_anything_else_gets_all_names_in_order():
    assert did_you_mean("transformer", MODELS) == "Valid names: ae, beta_vae, vae."


def test_many_names_are_not_listed_nor_none():
    many = [f"option_{number}" for number in range(MOST_NAMES + 1)]
    assert did_you_mean("x", many) == did_you_mean("x", []) == "No valid name is like it."
    assert did_you_mean("x", many[:-1]).startswith("Valid names: option_0, ")


def test_the_options_may_come_from_an_iterator():
    assert did_you_mean("betavae", iter(MODELS)) == "Did you mean 'beta_vae'?"
    assert did_you_mean("transformer", iter(MODELS)) == "Valid names: ae, beta_vae, vae."
