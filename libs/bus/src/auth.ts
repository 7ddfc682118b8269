/** What makes and checks the keys of auth callout. An entry of its own: only bus-auth and the command load the cryptography. */
export * from './seeds.ts';
