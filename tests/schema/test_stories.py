"""What users come for, as the operations of stories.graphql: valid, and run one after the other by two projects."""

from pathlib import Path

from graphql import NoUnusedFragmentsRule, parse, print_ast, specified_rules, validate
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

from schema import schema
from tests.client import Client

TEXT = (Path(__file__).parent / "stories.graphql").read_text()
DOCUMENT = parse(TEXT)
FRAGMENTS = {n.name.value: print_ast(n) for n in DOCUMENT.definitions if isinstance(n, FragmentDefinitionNode)}
OPERATIONS = {
    n.name.value: print_ast(n) for n in DOCUMENT.definitions if isinstance(n, OperationDefinitionNode) and n.name
}


async def tell(client: Client, story: str, /, **variables: object) -> dict[str, object]:
    needed = [text for fragment, text in FRAGMENTS.items() if f"...{fragment}" in OPERATIONS[story]]
    return await client.ask("\n".join([OPERATIONS[story], *needed]), **variables)


def test_stories_are_valid():
    rules = [rule for rule in specified_rules if rule is not NoUnusedFragmentsRule]

    assert validate(schema._schema, DOCUMENT, rules) == []


async def test_owner_and_recipient_tell_their_stories(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    machine = await alice.launch()

    created = (await tell(alice, "CiCreate", ecs=machine["id"], key="ci-1"))["createImage"]
    assert created["userErrors"] == []
    again = (await tell(alice, "CiCreate", ecs=machine["id"], key="ci-1"))["createImage"]
    assert again["image"] == created["image"]
    await alice.done(created["job"]["id"])
    image = created["image"]["id"]
    polled = (await tell(alice, "CiPoll", job=created["job"]["id"]))["job"]
    assert (polled["status"], polled["image"]["status"]) == ("SUCCESS", "ACTIVE")
    assert (await tell(alice, "CiFindByName", name="ci-1234"))["images"]["totalCount"] == 1
    assert "endOffset" in (await tell(alice, "CiConsole", ecs=machine["id"]))["ecsInstance"]["consoleLog"]

    found = await tell(alice, "FindRecipients", bob=bob.name, carol=carol.name)
    recipients = [found["bob"]["id"], found["carol"]["id"]]
    shared = (await tell(alice, "ShareThree", images=[image], projects=recipients))["shareImages"]
    assert [result["outcome"] for result in shared["results"]] == ["SHARED", "SHARED"]

    inbox = (await tell(bob, "Inbox"))["images"]
    assert [edge["node"]["membership"]["status"] for edge in inbox["edges"]] == ["PENDING"]
    accepted = (await tell(bob, "AcceptSome", images=[image]))["acceptShares"]
    assert accepted["userErrors"] == []
    await tell(carol, "RejectSome", images=[image])
    (who,) = (await tell(alice, "WhoAccepted", images=[image]))["nodes"]
    assert (who["accepted"]["totalCount"], who["pending"]["totalCount"]) == (1, 0)
    assert {node["status"] for node in who["members"]["nodes"]} == {"ACCEPTED", "REJECTED"}

    wizard = await tell(bob, "LaunchWizard", image=image)
    assert all(flavor["launchability"]["ok"] for flavor in wizard["flavors"]["nodes"] if flavor["name"] == "t1.nano")
    dry = (await tell(bob, "Launch", image=image, flavor="t1.nano", dry=True))["launchEcs"]
    assert (dry["ecsInstances"], dry["userErrors"]) == ([], [])
    fitting = (await tell(bob, "ImagesForFlavor", flavor="t1.nano"))["images"]["nodes"]
    assert image in [node["id"] for node in fitting]

    page = (await tell(alice, "ImagePage", id=image))["image"]
    assert page["source"]["ecs"]["ecsId"] == machine["id"]
    catalogue = (await tell(alice, "CataloguePage", filter={"visibility": ["PRIVATE"]}))["images"]
    assert catalogue["totalCount"] == 1
    assert catalogue["kinds"] == [{"value": "FULL_ECS", "count": 1}]
    assert (await tell(alice, "Dashboard"))["ecsInstances"]["totalCount"] == 1

    gone = (await tell(alice, "Withdraw", images=[image], project=bob.project_id))["unshareImages"]
    assert gone["results"][0]["outcome"] == "REMOVED"
