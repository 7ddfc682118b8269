export * from './correlation.ts';
export * from './keys.ts';
export * from './response.ts';
export * from './spoof.ts';
export * from './units.ts';
export * from './values.ts';
export * from './vectors.ts';
