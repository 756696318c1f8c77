import { readFileSync } from 'node:fs'
import { type ChannelCredentials, type ChannelOptions, credentials, ServerCredentials } from '@grpc/grpc-js'

/** What one side of a TLS connection shows and trusts; each is PEM text. */
export interface TlsIdentity {
  /** Certificates of the authorities whose word counts for the other side. */
  readonly ca: string
  /** Certificate of this side, and those between it and the authority, if any. */
  readonly cert: string
  readonly key: string
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

export function clientCredentials(tls: TlsIdentity | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure()
  return credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.key), Buffer.from(tls.cert))
}

/** The name to look for in the server's certificate, when it is not the one that is connected to. */
export function serverNameOption(name: string | undefined): ChannelOptions {
  return name === undefined ? {} : { 'grpc.ssl_target_name_override': name }
}

/** Both sides show a certificate: whoever has none, or one of another authority, does not get past the handshake. */
export function serverCredentials(tls: TlsIdentity | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure()
  const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }
  return ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], true)
}
