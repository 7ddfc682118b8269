/**
 * Refuses destinations inside the cluster, the node or its metadata service, so that a URL that names
 * them, or a name that resolves to them, is no way in. The address that is connected to is checked:
 * a name that resolves differently the next time gains nothing.
 */
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { DeliveryError } from './output.ts';
import { lookupAll, respond } from './shared-lookup.ts';

/** Special-purpose addresses of the IANA registries that are not globally reachable, and multicast. */
const IPV4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4'],
  // The metadata service of Azure, which has a public address.
  '168.63.129.16/32',
];
/** Those that contain an IPv4 address (mapped, NAT64, 6to4, Teredo) are refused as a whole. */
const IPV6 = [
  ...['::/96', '::ffff:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32'],
  ...['2002::/16', '3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
];

function blockList(family: 'ipv4' | 'ipv6', subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [net = '', prefix = ''] = subnet.split('/');
    list.addSubnet(net, Number(prefix), family);
  }
  return list;
}
const PRIVATE_IPV4 = blockList('ipv4', IPV4);
const PRIVATE_IPV6 = blockList('ipv6', IPV6);

/** Whether an address is not a global one. Pure. */
export function isPrivateAddress(address: string): boolean {
  const plain = address.split('%')[0] ?? '';
  if (isIP(plain) === 4) return PRIVATE_IPV4.check(plain, 'ipv4');
  return isIP(plain) === 6 ? PRIVATE_IPV6.check(plain, 'ipv6') : true;
}

const refusal = (host: string, address: string) =>
  new DeliveryError(
    'OUTPUT_ADDRESS',
    `${host} is ${address}, which is not a public address: set allowPrivateAddress if it is meant`,
  );

/** For a host that is an address itself, which is not looked up. @throws DeliveryError OUTPUT_ADDRESS */
export function checkHost(hostname: string): void {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0 && isPrivateAddress(host)) throw refusal(host, host);
}

/** `lookup` of a socket: fails with OUTPUT_ADDRESS if any address of the name is private. */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookupAll(hostname, options, (error, addresses) => {
    if (error) return callback(error, [], 0);
    const refused = addresses.find(({ address }) => isPrivateAddress(address));
    if (refused) return callback(refusal(hostname, refused.address), [], 0);
    return respond(addresses, options, callback);
  });
};
