/**
 * Auth callout and its keys. A separate entry, so that only bus-auth and the CLI load the
 * cryptography.
 */
export * from './auth/auth-callout.ts';
export * from './auth/node-connections.ts';
export * from './auth/seeds.ts';
export { SecretFile } from './connection/secret-file.ts';
export { lifeOfToken } from './connection/token-renewal.ts';
