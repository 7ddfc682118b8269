/**
 * Installs the admission policies of a component at the API stand-in, so that they check the
 * requests of a real app.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type ApiServer, accountUser as userOf } from '@bailiff/lab/apiserver';
import { parseAllDocuments } from 'yaml';

const COMPONENTS = path.resolve(import.meta.dirname, '../../../k8s/components');

/** The API server's user name of a service account in the namespace of the manifests. */
export const accountUser = (name: string): string => userOf('bailiff-system', name);

export function installAdmission({ api }: ApiServer, component: string): void {
  const text = readFileSync(path.join(COMPONENTS, component, 'admission.yaml'), 'utf8');
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS();
    const plural = object.kind === 'ValidatingAdmissionPolicy' ? 'policies' : 'policybindings';
    api.create(`validatingadmission${plural}.admissionregistration.k8s.io`, object);
  }
}
