import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { type ChannelCredentials, type ChannelOptions, credentials, experimental } from '@grpc/grpc-js'

/** What one side of a TLS connection shows and trusts; each is PEM text. */
export interface TlsIdentity {
  /** Certificates of the authorities whose word counts for the other side. */
  readonly ca: string
  /** Certificate of this side, and those between it and the authority, if any. */
  readonly cert: string
  readonly key: string
  /** Tells connections when the above changes. */
  readonly provider?: experimental.CertificateProvider
  /** Whether a certificate, by its serial number in hexadecimal digits, no longer counts. */
  isRevoked?(serialNumber: string): boolean
}

/** Reads the three files of an identity. The error of one that cannot be read names it. */
export function readTlsIdentity(files: {
  readonly ca: string
  readonly cert: string
  readonly key: string
}): TlsIdentity {
  const read = (what: string, path: string) => {
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      throw new Error(`cannot read the TLS ${what}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
  }
  return { ca: read('authority', files.ca), cert: read('certificate', files.cert), key: read('key', files.key) }
}

/** How a client finds out whether it has met the server that it wanted. */
export interface Expected {
  readonly tls: TlsIdentity | undefined
  /** `host:port` */
  readonly address: string
  /** The name to look for in the server's certificate; the address's host unless given. */
  readonly serverName: string | undefined
}

/** What shows that nobody asked for a name: addresses are never sent, only looked for in the certificate. */
const noName = 'address.invalid'

export function clientSecurity({ tls, address, serverName }: Expected): {
  readonly credentials: ChannelCredentials
  readonly options: ChannelOptions
} {
  if (tls === undefined) return { credentials: credentials.createInsecure(), options: {} }
  const wanted = serverName ?? address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1')
  const verify = {
    checkServerIdentity: (_: string, certificate: PeerCertificate) =>
      tls.isRevoked?.(certificate.serialNumber)
        ? new Error(`the certificate of ${wanted} is revoked`)
        : checkServerIdentity(wanted, certificate),
  }
  return {
    credentials:
      tls.provider === undefined
        ? credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.key), Buffer.from(tls.cert), verify)
        : experimental.createCertificateProviderChannelCredentials(tls.provider, tls.provider, verify),
    options: { 'grpc.ssl_target_name_override': isIP(wanted) === 0 ? wanted : noName },
  }
}
