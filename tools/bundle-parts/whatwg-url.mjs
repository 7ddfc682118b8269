// What node-fetch takes from whatwg-url is the class that Node has. The package's own brings tables for host names, a quarter of a megabyte, and
// asks for Node's `punycode`: since Node 21 a bundle that does says so on stderr, among the lines of its log.
export { URL } from 'node:url';
