"""The main job: a machine launched from an image that somebody shared."""


async def test_recipient_launches_what_the_owner_wrote(project):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(userData="note from-alice\n")
    await alice.console(machine["id"], until="READY")

    image = await alice.make_image(machine["id"], full=True)
    await alice.share(image["id"], bob)
    copy = await bob.launch(image["id"])

    assert "NOTE from-alice" in await bob.console(copy["id"], until="READY")
