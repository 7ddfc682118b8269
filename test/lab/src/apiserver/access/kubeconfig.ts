/** Kubeconfig files for the stand-in's users. Pure but for `writeKubeconfig`. */
import { writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';

export interface KubeconfigInput {
  url: string;
  /** PEM text. */
  ca: string;
  user: string;
  token: string;
}

/** The text of a kubeconfig with one cluster, one user and one context. */
export function kubeconfigText(input: KubeconfigInput): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'bailiff-lab',
        cluster: { server: input.url, 'certificate-authority-data': Buffer.from(input.ca).toString('base64') },
      },
    ],
    users: [{ name: input.user, user: { token: input.token } }],
    contexts: [{ name: 'bailiff-lab', context: { cluster: 'bailiff-lab', user: input.user, namespace: 'default' } }],
    'current-context': 'bailiff-lab',
  });
}

/** Writes a kubeconfig readable by its owner only. */
export async function writeKubeconfig(path: string, input: KubeconfigInput): Promise<void> {
  await writeFile(path, kubeconfigText(input), { mode: 0o600 });
}
