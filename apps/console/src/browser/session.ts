/**
 * The session of this browser. In a cluster, the proxy in front of the console names the visitor, and
 * nothing is kept here. Otherwise a link has a one-time token in its fragment; it is exchanged for a cookie,
 * which scripts cannot read, and for a key, which only scripts of this origin can send.
 */
import { signal } from '@preact/signals';
import type { AppliedView, ConfirmationView, DoorView, ErrorView, ProposalView } from '../wire.ts';

const KEY = 'bailiff-key';

/** `none`: this browser has to open a new link. */
export const session = signal<'opening' | 'open' | 'none'>('opening');
export const door = signal<DoorView['kind']>('link');
/** Why a visitor of a cluster is not admitted; null: not refused. */
export const refusal = signal<ErrorView | null>(null);

export class ApiError extends Error {
  readonly status: number;
  readonly remedy: string;
  constructor(status: number, { error, remedy }: ErrorView) {
    super(error);
    this.status = status;
    this.remedy = remedy;
  }
}

/** @param remedy where the console does not respond */
export const failureOf = (error: unknown, remedy: string): ErrorView =>
  error instanceof ApiError
    ? { error: error.message, remedy: error.remedy }
    : { error: 'the console does not respond', remedy };

const headers = (): Record<string, string> => ({ 'x-bailiff-key': localStorage.getItem(KEY) ?? '' });

/** Takes the token out of the address, so that neither history nor a shared link has it. */
function takeToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

async function exchange(): Promise<void> {
  const token = takeToken();
  if (token !== null) {
    const response = await fetch('/api/session', { method: 'POST', body: token });
    if (response.ok) localStorage.setItem(KEY, ((await response.json()) as { key: string }).key);
  }
  session.value = localStorage.getItem(KEY) === null ? 'none' : 'open';
}

const RETRY_MS = 2_000;

async function doorKind(): Promise<DoorView['kind']> {
  for (;;) {
    try {
      const response = await fetch('/api/session');
      if (response.ok) return ((await response.json()) as DoorView).kind;
    } catch {
      // The console restarts, or the proxy does not reach it.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Opens the session, also when another tab gets one or a further link is opened here. */
export async function openSession(): Promise<void> {
  door.value = await doorKind();
  if (door.value === 'proxy') {
    session.value = 'open';
    return;
  }
  addEventListener('hashchange', () => void exchange());
  addEventListener('storage', ({ key }) => {
    if (key === KEY) session.value = 'open';
  });
  await exchange();
}

/** Without a session, or with that of an earlier run, whose pages have another address. */
const needsLink = ({ status }: Response) => door.value === 'link' && (status === 401 || status === 421);

/** @throws ApiError; TypeError if the console does not respond */
export async function request(path: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(path, { headers: headers(), ...(signal ? { signal } : {}) });
  if (response.ok) {
    refusal.value = null;
    return response;
  }
  const view = await errorIn(response);
  if (needsLink(response)) session.value = 'none';
  else if (response.status === 401 || response.status === 403) refusal.value = view;
  throw new ApiError(response.status, view);
}

/** A refusal is of this request, and not of the page. @throws as `request` */
async function send(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, { ...init, headers: { ...headers(), ...init.headers } });
  if (response.ok) return response;
  if (needsLink(response)) session.value = 'none';
  throw new ApiError(response.status, await errorIn(response));
}

/** @throws as `request` */
export function post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
  const own = { 'content-type': 'application/json' };
  return send(path, { method: 'POST', headers: own, body: JSON.stringify(body), ...(signal ? { signal } : {}) });
}

/** What a change would write. @throws as `request` */
export async function proposal(key: string, set: readonly string[], signal: AbortSignal): Promise<ProposalView> {
  const query = new URLSearchParams({ key });
  for (const text of set) query.append('set', text);
  return (await (await send(`/api/proposal?${query}`, { signal })).json()) as ProposalView;
}

/** Writes a change. @throws as `request` */
export const change = async (confirmed: ConfirmationView): Promise<AppliedView> =>
  (await (await post('/api/change', confirmed)).json()) as AppliedView;

/** A proxy in front of the console has error pages of its own. */
async function errorIn(response: Response): Promise<ErrorView> {
  try {
    return (await response.json()) as ErrorView;
  } catch {
    return { error: `the proxy responds with status ${response.status}`, remedy: 'open the page again to sign in' };
  }
}
