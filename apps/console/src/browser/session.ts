/**
 * The session of this browser. A link has a one-time token in its fragment; it is exchanged for a cookie,
 * which scripts cannot read, and for a key, which only scripts of this origin can send.
 */
import { signal } from '@preact/signals';
import type { ErrorView } from '../wire.ts';

const KEY = 'bailiff-key';

/** `none`: this browser has to open a new link. */
export const session = signal<'opening' | 'open' | 'none'>('opening');

export class ApiError extends Error {
  readonly status: number;
  readonly remedy: string;
  constructor(status: number, { error, remedy }: ErrorView) {
    super(error);
    this.status = status;
    this.remedy = remedy;
  }
}

const headers = (): HeadersInit => ({ 'x-bailiff-key': localStorage.getItem(KEY) ?? '' });

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

/** Opens the session, also when another tab gets one or a further link is opened here. */
export async function openSession(): Promise<void> {
  addEventListener('hashchange', () => void exchange());
  addEventListener('storage', ({ key }) => {
    if (key === KEY) session.value = 'open';
  });
  await exchange();
}

/** @throws ApiError; TypeError if the console does not respond */
export async function request(path: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(path, { headers: headers(), ...(signal ? { signal } : {}) });
  if (response.ok) return response;
  if (response.status === 401) session.value = 'none';
  throw new ApiError(response.status, (await response.json()) as ErrorView);
}
