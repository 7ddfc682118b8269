/** Auth callout and its keys. An entry of its own: only bus-auth and the command load the cryptography. */
export * from './auth-callout.ts';
export { SecretFile } from './secret-file.ts';
export * from './seeds.ts';
export { lifeOfToken } from './token-renewal.ts';
