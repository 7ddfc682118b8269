// Checks a login: connects, prints the user, and ends. An error names what is wrong.
import { connect } from '@bailiff/connector';

const bailiff = await connect();
console.log(`connected as ${bailiff.user}`);
await bailiff.close();
