// The X.509 library finds its parts through this.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import { type Grant, grantUri, nodeUri } from '@flotilla/access'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** A certificate and its key, PEM. */
export interface Issued {
  readonly cert: string
  readonly key: string
}

export interface NodeOptions {
  readonly name: string
  /** Host names and IP addresses by which others reach the node, besides its name and localhost. */
  readonly addresses: readonly string[]
  readonly days: number
}

export interface ClientOptions {
  readonly name: string
  readonly grants: readonly Grant[]
  readonly days: number
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const day = 86_400_000
/** Clocks of machines differ a little. */
const clockSkew = 300_000

/** Makes an authority, which signs itself. Whoever has its key can let anybody in. */
export async function createAuthority(options: { readonly name: string; readonly days: number }): Promise<Issued> {
  const keys = await newKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [options.name] }],
      keys,
      signingAlgorithm: algorithm,
      ...validity(options.days),
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto as Crypto,
  )
  return { cert: pem(certificate), key: await privatePem(keys.privateKey) }
}

/** A node's certificate: it serves under the node's names and calls other nodes. */
export function issueNode(authority: Issued, options: NodeOptions): Promise<Issued> {
  const names = [...new Set([options.name, 'localhost', '127.0.0.1', '::1', ...options.addresses])]
  return issue(
    authority,
    options,
    [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth],
    [
      ...names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      { type: 'url', value: nodeUri(options.name) },
    ],
  )
}

/** A client's certificate, with what it may do. It cannot serve. */
export function issueClient(authority: Issued, options: ClientOptions): Promise<Issued> {
  return issue(
    authority,
    options,
    [ExtendedKeyUsage.clientAuth],
    options.grants.map((grant) => ({ type: 'url', value: grantUri(grant) })),
  )
}

async function issue(
  authority: Issued,
  { name, days }: { readonly name: string; readonly days: number },
  usages: readonly ExtendedKeyUsage[],
  names: ReadonlyArray<{ type: 'dns' | 'ip' | 'url'; value: string }>,
): Promise<Issued> {
  const issuer = new X509Certificate(authority.cert)
  const keys = await newKeys()
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([...usages]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(issuer),
    ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...names])]),
  ]
  const certificate = await X509CertificateGenerator.create(
    {
      subject: [{ CN: [name] }],
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: await importPrivate(authority.key),
      signingAlgorithm: algorithm,
      ...validity(days),
      extensions,
    },
    webcrypto as Crypto,
  )
  return { cert: pem(certificate), key: await privatePem(keys.privateKey) }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>
}

/** A negative number of days makes a certificate that has expired, for tests. */
function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  return { notBefore: new Date(Math.min(now, now + days * day) - clockSkew), notAfter: new Date(now + days * day) }
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

async function privatePem(key: CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key as never)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${base64.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`
}

async function importPrivate(text: string): Promise<CryptoKey> {
  const base64 = text.replace(/-----[A-Z ]+-----|\s/g, '')
  const key = await webcrypto.subtle.importKey('pkcs8', Buffer.from(base64, 'base64'), algorithm, false, ['sign'])
  return key as CryptoKey
}
