// An independent verifier (mailauth) for tests: JSON lines in, JSON lines out, in order.
//
// In:  {"id", "message": base64, "ip", "helo", "sender", "dns": {name: {type: [records] | "TIMEOUT" | "SERVFAIL"}},
//       "now": epoch seconds}. Without "message" only SPF is judged, without "ip" all but SPF. A name's entry may
//       itself be "TIMEOUT" or "SERVFAIL". Records are written as in tests/dnsserver.py: MX is "10 host".
// Out: {"id", "dkim": [{"result", "domain", "selector", "reason"}], "arc", "arc_reason", "spf", "dmarc"}, or {"id", "error"}.
//      Nothing is asked of real DNS.

import { createInterface } from 'node:readline';
import arcs from 'mailauth/lib/arc/index.js';
import dkim from 'mailauth/lib/dkim/verify.js';
import dmarcs from 'mailauth/lib/dmarc/index.js';
import spfs from 'mailauth/lib/spf/index.js';

const FAILURES = { TIMEOUT: 'ETIMEOUT', SERVFAIL: 'ESERVFAIL' };

function fail(code, name) {
    throw Object.assign(new Error(`${code} ${name}`), { code });
}

// The zone in the shape of dns.promises.resolve().
function makeResolver(zone) {
    const names = new Map(Object.entries(zone ?? {}).map(([name, entry]) => [name.toLowerCase(), entry]));
    return async (name, type) => {
        let at = name.toLowerCase().replace(/\.$/, '');
        for (let hop = 0; hop < 12; hop++) {
            const entry = names.get(at);
            if (entry === undefined) {
                const above = [...names.keys()].some(key => key.endsWith(`.${at}`));
                fail(above ? 'ENODATA' : 'ENOTFOUND', name);
            }
            const value = typeof entry === 'string' ? entry : entry[type] ?? [];
            if (typeof value === 'string') {
                fail(FAILURES[value], name);
            }
            if (value.length) {
                return value.map(record => shape(record, type));
            }
            if (!entry.CNAME) {
                fail('ENODATA', name);
            }
            at = entry.CNAME[0].toLowerCase().replace(/\.$/, '');
        }
        return fail('ESERVFAIL', name);
    };
}

function shape(record, type) {
    if (type === 'TXT') {
        return [record];
    }
    if (type === 'MX') {
        const [priority, exchange] = record.split(' ');
        return { priority: Number(priority), exchange: exchange.replace(/\.$/, '') };
    }
    return record.replace(/\.$/, '');
}

async function verifyMessage(asked, resolver, spf) {
    const curTime = new Date((asked.now ?? Date.now() / 1000) * 1000);
    const options = { resolver, curTime, minBitLength: 1024, sender: asked.sender };
    const found = await dkim.dkimVerify(Buffer.from(asked.message, 'base64'), options);
    const signatures = (found.results ?? []).filter(one => one.signingDomain);
    const chain = await arcs.arc(found.arc, options);
    const policy = found.headerFrom?.length
        ? await dmarcs.dmarc({
              headerFrom: found.headerFrom,
              spfDomains: spf?.status.result === 'pass' ? [spf.domain] : [],
              dkimDomains: signatures
                  .filter(one => one.status.result === 'pass')
                  .map(one => ({ id: one.id, domain: one.signingDomain, aligned: one.status.aligned })),
              arcResult: chain,
              resolver
          })
        : null;
    return {
        dkim: signatures.map(one => ({
            result: one.status.result,
            domain: one.signingDomain,
            selector: one.selector ?? '',
            reason: one.status.comment || ''
        })),
        arc: chain ? chain.status.result : 'none',
        arc_reason: (chain && chain.status.comment) || '',
        dmarc: policy ? policy.status.result : 'none'
    };
}

async function judge(asked) {
    const resolver = makeResolver(asked.dns);
    const spf = asked.ip
        ? await spfs.spf({ resolver, ip: asked.ip, helo: asked.helo, sender: asked.sender || undefined, mta: 'verifier' })
        : null;
    const results = asked.message === undefined ? {} : await verifyMessage(asked, resolver, spf);
    return { id: asked.id, ...results, ...(spf && { spf: spf.status.result }) };
}

// The library writes notes of its own there.
console.log = console.error;

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim()) {
        const asked = JSON.parse(line);
        const answer = await judge(asked).catch(error => ({ id: asked.id, error: String(error?.message ?? error) }));
        process.stdout.write(JSON.stringify(answer) + '\n');
    }
}
