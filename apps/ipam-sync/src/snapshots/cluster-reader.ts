/**
 * Reads the identity of the cluster: the UID of the namespace `kube-system`, which no cluster shares
 * and which lives as long as the cluster. Retried until it is known; events have none until then.
 */
import { apiPath, type KubeApi, KubeError, type KubeObject, nullOn } from '@bailiff/kube';
import type { ClusterIdentity } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';

const RETRY_MS = 60_000;

export interface ClusterReaderOptions {
  client: KubeApi;
  /** Configured; may be empty. */
  name: string;
  clock: Clock;
  onChange(): void;
  onError(error: KubeError): void;
}

export class ClusterReader {
  readonly #o: ClusterReaderOptions;
  #uid = '';
  /** The first attempt has ended. */
  hasTried = false;

  constructor(options: ClusterReaderOptions) {
    this.#o = options;
  }

  get identity(): ClusterIdentity {
    return { uid: this.#uid, name: this.#o.name };
  }

  /** Resolves when the UID is known or the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, onChange, onError } = this.#o;
    while (!signal.aborted) {
      try {
        const path = apiPath`/api/v1/namespaces/${'kube-system'}`;
        const found = await nullOn('KUBE_NOT_FOUND', client.request<KubeObject>({ path, signal }));
        this.hasTried = true;
        if (found) {
          this.#uid = found.metadata.uid;
          return onChange();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KubeError)) throw error;
        onError(error);
        this.hasTried = true;
      }
      await clock.sleep(RETRY_MS, signal);
    }
  }
}
