// The tabs of a first visit: every file of examples/, in the order of the numbers in the names.
const documents = import.meta.glob('./examples/*.graphql', { query: '?raw', import: 'default', eager: true });
const variables = import.meta.glob('./examples/*.variables.json', { query: '?raw', import: 'default', eager: true });

export const EXAMPLES = Object.keys(documents)
  .sort()
  .map((path) => ({
    query: documents[path],
    variables: variables[path.replace('.graphql', '.variables.json')] ?? null,
  }));
