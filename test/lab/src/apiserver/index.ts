// What the API stand-in offers to the lab and to tests.

export type { AccessRule, TokenUser } from './auth.ts';
export { ensureCertificates } from './certs.ts';
export type { DeleteOptions } from './deletion.ts';
export { ApiError } from './errors.ts';
export type { FaultHandle, FaultSpec } from './faults.ts';
export type { Change, ChangeType } from './history.ts';
export { writeKubeconfig } from './kubeconfig.ts';
export type { ListOptions, ListPage } from './listing.ts';
export type { ObjectRef } from './operations.ts';
export type { RequestRecord } from './requests.ts';
export { RESOURCE_CASES } from './resource-cases.ts';
export { type ApiServer, type ApiServerOptions, startApiServer } from './server.ts';
export { accountUser } from './tokens.ts';
export type { KubeObject, ObjectInput } from './types.ts';
