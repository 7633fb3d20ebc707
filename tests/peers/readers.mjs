// What mail programs' libraries read as the author: JSON lines in, JSON lines out, in order.
//
// In:  {"header": base64 of a header block}. Out: {library: [addresses of From]}; an address is what the library calls one.

import { createInterface } from 'node:readline';
import addressparser from 'addressparser';
import emailAddresses from 'email-addresses';
import { simpleParser } from 'mailparser';
import PostalMime from 'postal-mime';

const list = entries => entries.flatMap(one => (one.group ? list(one.group) : one.address ? [one.address] : []));

async function read(header) {
    const message = Buffer.concat([header, Buffer.from('\r\n')]);
    const unfolded = header.toString('utf8').replace(/\r\n(?=[ \t])/g, '');
    const value = /^from[ \t]*:(.*)$/im.exec(unfolded)?.[1] ?? '';
    const mail = await simpleParser(message, { skipHtmlToText: true, skipTextToHtml: true });
    const postal = await PostalMime.parse(message);
    const strict = emailAddresses.parseFrom(value) ?? [];
    return {
        mailparser: [mail.from ?? []].flat().flatMap(one => list(one.value)),
        'postal-mime': list([postal.from ?? []].flat()),
        addressparser: list(addressparser(value)),
        'email-addresses': strict.flatMap(one => one.addresses ?? [one]).map(one => one.address)
    };
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const answer = await read(Buffer.from(JSON.parse(line).header, 'base64')).catch(error => ({ error: String(error) }));
    process.stdout.write(JSON.stringify(answer) + '\n');
}
