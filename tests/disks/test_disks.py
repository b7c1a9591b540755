"""EVS disks: the viewer's own, listed, filtered and paged."""

LIST = """query($where: EvsDiskFilter, $first: Int, $after: String) { evsDisks(filter: $where, first: $first, after: $after) {
  totalCount nodes { id name } pageInfo { hasNextPage endCursor } } }"""
ONE = "query($id: ID!) { evsDisk(id: $id) { id uuid name ecsInstance { id } image { name } fault { code } } }"


async def test_disks_are_listed_by_what_they_are_paged_and_read_by_id(project):
    alice, bob = await project("alice"), await project("bob")
    hello = await alice.hello()
    machine = await alice.launch(name="vm", dataDisks=[{"sizeGib": 10, "type": "SSD"}, {"sizeGib": 10, "name": "logs"}])

    async def names(client=alice, **where):
        return sorted(disk["name"] for disk in (await client.one(LIST, where=where))["nodes"])

    assert await names() == ["vm-data-1", "vm-logs", "vm-system"]
    assert await names(isSystem=True) == ["vm-system"]
    assert await names(isSystem=False) == ["vm-data-1", "vm-logs"]
    assert await names(type=["SSD"]) == ["vm-data-1"]
    assert await names(name={"contains": "LOG"}) == ["vm-logs"]
    assert await names(status=["IN_USE"], ecsIds=[machine["id"]]) == ["vm-data-1", "vm-logs", "vm-system"]
    assert await names(status=["AVAILABLE"]) == []
    assert await names(imageIds=[hello]) == ["vm-system"]
    assert await names(ids=[]) == []
    assert await names(bob) == []
    assert await names(bob, ecsIds=[machine["id"]]) == []

    first = await alice.one(LIST, first=2)
    second = await alice.one(LIST, first=2, after=first["pageInfo"]["endCursor"])
    disk = first["nodes"][0]
    read = await alice.one(ONE, id=disk["id"])
    by_uuid = await alice.one(ONE, id=read["uuid"])

    assert (first["totalCount"], len(first["nodes"]), first["pageInfo"]["hasNextPage"]) == (3, 2, True)
    assert (len(second["nodes"]), second["pageInfo"]["hasNextPage"]) == (1, False)
    assert len({node["id"] for node in first["nodes"] + second["nodes"]}) == 3
    assert read == by_uuid
    assert (read["name"], read["ecsInstance"], read["fault"]) == (disk["name"], {"id": machine["id"]}, None)
    assert await bob.one(ONE, id=disk["id"]) is None
    assert await alice.one(ONE, id=machine["id"]) is None
