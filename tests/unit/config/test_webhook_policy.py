"""What the webhooks' account may make of Secrets, and that it is what its code makes."""

from pathlib import Path

import pytest
import yaml

from knative_mig.adapters.kube.kinds import SECRET
from knative_mig.adapters.kube.relay_secrets import KubeRelaySecrets
from knative_mig.core.relays import (
    FUNCTION_URL_VARIABLE,
    MOVE_PORT,
    SECRET_FILE_VARIABLE,
    SECRET_KEY,
    SECRET_NAME,
)
from services.relay.__main__ import command
from services.relay.settings import Settings
from tests.fake_api import FakeApi

CORE = Path(__file__).parents[3] / "config" / "core"


def test_a_policy_narrows_the_right_to_make_secrets_to_what_is_made() -> None:
    policy, _ = yaml.safe_load_all((CORE / "430-webhook-policy.yaml").read_text())
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert (rule["resources"], rule["operations"]) == (["secrets"], ["CREATE"])
    name, kind = [each["expression"] for each in policy["spec"]["validations"]]
    with FakeApi() as api:
        assert KubeRelaySecrets(api.client()).ensure("team")
        (made,) = api.objects(SECRET)
    assert name.endswith(f"== '{SECRET_NAME}'")
    assert made["metadata"]["name"] == SECRET_NAME
    assert f"'{made['type']}'" in kind
    assert "immutable" in kind
    assert made["immutable"]
    assert f"key == '{SECRET_KEY}'" in kind
    assert set(made["data"]) == {SECRET_KEY}
    assert "annotations" not in made["metadata"]


@pytest.mark.parametrize("variable", [SECRET_FILE_VARIABLE, FUNCTION_URL_VARIABLE])
def test_what_a_pod_is_told_the_relay_reads(variable: str) -> None:
    options = {f"{command.context_settings['auto_envvar_prefix']}_{each.name}".upper() for each in command.params}
    assert variable in options


def test_the_relay_listens_where_its_mover_calls() -> None:
    assert Settings().move_port == MOVE_PORT
