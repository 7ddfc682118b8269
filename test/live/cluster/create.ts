/** Creates an object of the suite, patiently. */
import { type KubeApi, KubeError } from '@bailiff/kube';
import { pause } from '@bailiff/service/retry';

const TIMEOUT_MS = 60_000;
const ATTEMPTS = 4;
const PAUSE_MS = 1_000;

/**
 * A request without a response may have created the object. Names are unique to the run, so after a
 * repetition an existing object is the wanted one.
 */
export async function create(kube: KubeApi, path: string, body: object): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await kube.request({ verb: 'POST', path, body, timeoutMs: TIMEOUT_MS });
      return;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (attempt > 1 && error.code === 'KUBE_ALREADY_EXISTS') return;
      if (attempt === ATTEMPTS || (error.code !== 'KUBE_UNREACHABLE' && error.code !== 'KUBE_TIMEOUT')) throw error;
      await pause(PAUSE_MS * attempt);
    }
  }
}
