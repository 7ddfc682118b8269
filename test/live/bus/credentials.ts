/** The password of the bus user `cli`, and the CA: read from the Secrets, kept in files for one run. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { apiPath, nullOn } from '@bailiff/kube';
import type { Access } from '../cluster/facts.ts';

interface Secret {
  data?: Record<string, string>;
}

export class BusCredentials implements Disposable {
  readonly #dir: string;
  readonly passwordFile: string;
  readonly caFile: string;

  private constructor(password: Buffer, ca: Buffer) {
    this.#dir = mkdtempSync(path.join(tmpdir(), 'bailiff-live-'));
    this.passwordFile = path.join(this.#dir, 'cli.password');
    this.caFile = path.join(this.#dir, 'ca.crt');
    writeFileSync(this.passwordFile, password, { mode: 0o600 });
    writeFileSync(this.caFile, ca);
  }

  /** @throws Error if the namespace lacks a Secret */
  static async read({ kube, options: { namespace } }: Access): Promise<BusCredentials> {
    const value = async (key: string, ...names: string[]) => {
      for (const name of names) {
        const path = apiPath`/api/v1/namespaces/${namespace}/secrets/${name}`;
        const found = (await nullOn('KUBE_NOT_FOUND', kube.request<Secret>({ path })))?.data?.[key];
        if (found) return Buffer.from(found, 'base64');
      }
      throw new Error(`no ${key} in the Secret ${names.join(' or ')} of ${namespace}: is Bailiff installed there?`);
    };
    // cert-manager writes the CA beside the servers' key.
    return new BusCredentials(
      await value('password', 'bailiff-bus-cli'),
      await value('ca.crt', 'bailiff-bus-ca', 'bailiff-nats-tls'),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
