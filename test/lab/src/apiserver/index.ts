/** Public interface of the API server stand-in for the lab and tests. */
export { ensureCertificates } from './access/certs.ts';
export { writeKubeconfig } from './access/kubeconfig.ts';
export { accountUser } from './access/tokens.ts';
export type { AccessRule, TokenUser } from './access/users.ts';

export { RESOURCE_CASES } from './kinds/resource-cases.ts';

export type { RequestRecord } from './request/request-log.ts';
export { type ApiServer, type ApiServerOptions, startApiServer } from './server.ts';
export type { Change } from './store/history.ts';

export type { KubeObject } from './types.ts';
