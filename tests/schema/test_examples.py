"""The playground's tabs: each document is valid, and those that only read answer without an error."""

import pytest
from graphql import OperationType, parse, validate
from graphql.language import OperationDefinitionNode

from schema import schema
from schema.playground import EXAMPLES

DOCUMENTS = {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.graphql"))}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_is_valid(name):
    errors = validate(schema._schema, parse(DOCUMENTS[name]))

    assert errors == []


async def test_examples_that_read_answer(project):
    alice = await project("alice")

    for name, text in DOCUMENTS.items():
        operations = [node for node in parse(text).definitions if isinstance(node, OperationDefinitionNode)]
        if all(node.operation is OperationType.QUERY for node in operations) and len(operations) == 1:
            answer = await alice.answer(text)

            assert "errors" not in answer, (name, answer)
