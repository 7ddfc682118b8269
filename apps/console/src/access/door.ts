/** Who may read: the interface between the server and the two ways to run the console. */
import type { IncomingMessage } from 'node:http';
import type { TokenUserInfo } from '@bailiff/kube';
import type { Scope } from './scope.ts';

export interface Guest {
  /** For people, and to share what is bounded between visitors. */
  name: string;
  scope: Scope;
  /** Of a visitor of a cluster. */
  identity?: VisitorIdentity;
}

export interface VisitorIdentity {
  /** What the API server knows of the visitor. */
  user: TokenUserInfo;
  /** The visitor's own, which the API server accepted; null: a proxy sent the name. */
  token: string | null;
}

/** Why a request is not answered. */
export class Refused extends Error {
  readonly status: 401 | 403 | 503;
  readonly remedy: string;
  constructor(status: 401 | 403 | 503, error: string, remedy: string) {
    super(error);
    this.status = status;
    this.remedy = remedy;
  }
}

export interface Door {
  /** How a browser is admitted: by the link of a person, or by the proxy in front of the console. */
  readonly kind: 'link' | 'proxy';
  /** Cheap enough for each request: results are kept for a short time. @throws Refused */
  admit(request: IncomingMessage): Promise<Guest>;
}

/**
 * How long an answer of the API server about a token or a right is used. An open page is admitted again
 * after as long, so a right that was taken away ends within twice this time.
 */
export const KEEP_MS = 5_000;
