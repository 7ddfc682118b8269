/** Auth callout and its keys. An entry of its own: only bus-auth and the command load the cryptography. */
export * from './auth/auth-callout.ts';
export * from './auth/seeds.ts';
export { SecretFile } from './connection/secret-file.ts';
export { lifeOfToken } from './connection/token-renewal.ts';
