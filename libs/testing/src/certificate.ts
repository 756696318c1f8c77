import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  /** PEM. It signs itself, so it is its own authority. */
  readonly cert: string
  readonly key: string
}

/** Makes a certificate for localhost and an address with openssl, in files `NAME.crt` and `NAME.key`. */
export async function makeCertificate(dir: string, name = 'server', address = '127.0.0.1'): Promise<Certificate> {
  const certFile = join(dir, `${name}.crt`)
  const keyFile = join(dir, `${name}.key`)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  const subject = ['-subj', '/CN=localhost', '-addext', `subjectAltName=DNS:localhost,IP:${address}`]
  await promisify(execFile)('openssl', ['req', '-x509', ...key, '-days', '2', '-out', certFile, ...subject])
  const [certText, keyText] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')])
  return { certFile, keyFile, cert: certText, key: keyText }
}
