"""Prompts: registered models with a tag, seen by the prompt functions and hidden from the ordinary searches."""
import pytest

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def prompts(fluent):
    return fluent.genai


def test_versions_and_aliases(prompts, unique):
    name = unique("prompt")
    first = prompts.register_prompt(name=name, template="Hi {{who}}", commit_message="first", tags={"a": "b"})
    second = prompts.register_prompt(name=name, template="Hello {{who}}")
    assert (first.version, second.version) == (1, 2)
    assert prompts.load_prompt(f"prompts:/{name}/1").format(who="you") == "Hi you"
    assert prompts.load_prompt(f"prompts:/{name}/1").commit_message == "first"
    prompts.set_prompt_alias(name, "live", 1)
    assert prompts.load_prompt(f"prompts:/{name}@live").version == 1
    prompts.set_prompt_alias(name, "live", 2)
    assert prompts.load_prompt(f"prompts:/{name}@live").template == "Hello {{who}}"
    prompts.delete_prompt_alias(name, "live")
    assert prompts.load_prompt(f"prompts:/{name}@live", allow_missing=True) is None


def test_chat_template(prompts, unique):
    name = unique("chat")
    messages = [{"role": "system", "content": "Be {{mood}}."}, {"role": "user", "content": "{{question}}"}]
    prompts.register_prompt(name=name, template=messages)
    assert prompts.load_prompt(f"prompts:/{name}/1").template == messages


def test_prompts_stay_out_of_model_searches(prompts, client, unique):
    name = unique("prompt")
    prompts.register_prompt(name=name, template="x")
    model = client.create_registered_model(unique("model")).name
    assert name not in [m.name for m in client.search_registered_models()]
    assert [m.name for m in client.search_registered_models(f"name = '{model}'")] == [model]
    assert client.search_registered_models(f"name = '{name}'") == []
    found = [p.name for p in prompts.search_prompts(filter_string=f"name = '{name}'")]
    assert found == [name]
    assert prompts.search_prompts(filter_string=f"name = '{model}'") == []


def test_tags(prompts, client, unique):
    name = unique("prompt")
    prompts.register_prompt(name=name, template="x")
    client.set_prompt_tag(name, "team", "a")
    client.set_prompt_version_tag(name, "1", "quality", "good")
    assert client.get_prompt(name).tags["team"] == "a"
    assert prompts.load_prompt(f"prompts:/{name}/1").tags["quality"] == "good"
    client.delete_prompt_version_tag(name, "1", "quality")
    assert "quality" not in prompts.load_prompt(f"prompts:/{name}/1").tags


def test_delete(prompts, client, unique):
    name = unique("prompt")
    prompts.register_prompt(name=name, template="x")
    client.delete_prompt_version(name, "1")
    assert prompts.load_prompt(f"prompts:/{name}/1", allow_missing=True) is None
