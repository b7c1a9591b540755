// Where the Authorization header comes from, and how long it is kept.
//
// The text of the header editor lives in sessionStorage: it survives a reload and ends with the browser tab.
// It never goes into localStorage, where GraphiQL keeps tabs and history for good.

const KEY = 'image-service:headers';

export function rememberHeaders(text) {
  sessionStorage.setItem(KEY, text);
}

export function rememberedHeaders() {
  return sessionStorage.getItem(KEY) ?? '';
}

/** Takes over the token of /graphql#token=img_... and removes it from the address bar and the browser's history. */
export function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return;
  rememberHeaders(JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2));
  history.replaceState(null, '', location.pathname + location.search);
}

/** The value of the Authorization header, in whatever case it was written; undefined if there is none. */
export function authorizationOf(headers) {
  const name = Object.keys(headers ?? {}).find((key) => key.toLowerCase() === 'authorization');
  return name && headers[name];
}

/** GraphiQL's storage, without the headers that its history would otherwise write to disk. */
export const storageWithoutHeaders = {
  getItem: (key) => localStorage.getItem(key),
  setItem(key, value) {
    const isHistory = key === 'graphiql:queries' || key === 'graphiql:favorites';
    localStorage.setItem(key, isHistory ? withoutHeaders(value) : value);
  },
  removeItem: (key) => localStorage.removeItem(key),
  get length() {
    return ownKeys().length;
  },
  clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
};

function withoutHeaders(json) {
  return JSON.stringify(JSON.parse(json), (key, value) => (key === 'headers' ? undefined : value));
}

function ownKeys() {
  return Object.keys(localStorage).filter((key) => key.startsWith('graphiql:'));
}
