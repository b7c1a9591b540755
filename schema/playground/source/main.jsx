import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './style.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { useGraphiQL } from '@graphiql/react';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { createClient } from 'graphql-ws';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { EXAMPLES } from './examples.js';
import {
  authorizationOf,
  rememberedHeaders,
  rememberHeaders,
  storageWithoutHeaders,
  takeTokenFromAddress,
} from './token.js';

const URL_PATH = '/graphql';
const HEADER_EXAMPLE = '{"Authorization": "Bearer img_..."}';
const PLUGINS = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

// Headers of the operation that was started last: the socket is opened for it, and closed when it ends.
let lastHeaders = {};

const fetchOrSubscribe = createGraphiQLFetcher({
  url: URL_PATH,
  enableIncrementalDelivery: false,
  wsClient: createClient({
    url: new URL(URL_PATH, location.href.replace(/^http/, 'ws')).href,
    connectionParams() {
      const authorization = authorizationOf(lastHeaders);
      return authorization ? { Authorization: authorization } : {};
    },
    // The first failure is shown at once; whoever reads it can press the button again.
    retryAttempts: 0,
  }),
});

function fetcher(params, options) {
  lastHeaders = options?.headers ?? headersBeforeEditor();
  return fetchOrSubscribe(params, { ...options, headers: lastHeaders });
}

// The schema is fetched before the header editor exists, and may need the token too.
function headersBeforeEditor() {
  try {
    return JSON.parse(rememberedHeaders() || '{}');
  } catch {
    return {};
  }
}

/** Carries the token from tab to tab, and says how to give one while there is none. */
function Token() {
  const headerEditor = useGraphiQL((state) => state.headerEditor);
  const [text, setText] = useState(rememberedHeaders);

  useEffect(() => {
    if (!headerEditor) return undefined;
    headerEditor.updateOptions({ placeholder: HEADER_EXAMPLE });
    const listener = headerEditor.onDidChangeModelContent((event) => {
      const value = headerEditor.getValue();
      setText(value);
      // isFlush: set by GraphiQL (another tab, an entry of the history) and not typed.
      if (!event.isFlush) rememberHeaders(value);
      else if (!value.trim() && rememberedHeaders()) queueMicrotask(() => headerEditor.setValue(rememberedHeaders()));
    });
    return () => listener.dispose();
  }, [headerEditor]);

  if (/authorization/i.test(text)) return null;
  return (
    <p className="token-hint">
      No token yet. Write <code>{HEADER_EXAMPLE}</code> under Headers, or open this page as{' '}
      <code>{URL_PATH}#token=img_...</code>
    </p>
  );
}

function Playground() {
  const params = new URLSearchParams(location.search);
  const query = params.get('query') ?? undefined;
  // Without '' the variables of the last visit would stand beside a query of somebody else.
  const variables = params.get('variables') ?? (query && '');
  return (
    <GraphiQL
      fetcher={fetcher}
      plugins={PLUGINS}
      storage={storageWithoutHeaders}
      shouldPersistHeaders={false}
      showPersistHeadersSettings={false}
      inputValueDeprecation
      schemaDescription
      defaultEditorToolsVisibility="headers"
      defaultHeaders={rememberedHeaders()}
      defaultTabs={query ? [{ query, variables }, ...EXAMPLES] : EXAMPLES}
      initialQuery={query}
      initialVariables={variables}
    >
      <GraphiQL.Logo>Image service</GraphiQL.Logo>
      <GraphiQL.Footer>
        <Token />
      </GraphiQL.Footer>
    </GraphiQL>
  );
}

takeTokenFromAddress();
// Another #token= in the address bar of an open page loads nothing by itself.
addEventListener('hashchange', () => location.reload());
createRoot(document.getElementById('playground')).render(<Playground />);
