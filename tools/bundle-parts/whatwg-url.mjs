// node-fetch uses only the URL class of whatwg-url, which Node has built in. The package itself
// adds a quarter of a megabyte of tables and requires `punycode`, for which Node 21 and later print
// a deprecation warning.
export { URL } from 'node:url';
