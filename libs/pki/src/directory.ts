import { X509Certificate } from 'node:crypto'
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ClientOptions, createAuthority, type Issued, issueClient, issueNode, type NodeOptions } from './issue.ts'

/** The files of one identity; what a TLS connection needs. */
export interface IdentityFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Makes `ca.crt` and `ca.key` in a directory, which is made if it is missing. Refuses to replace an authority. */
export async function initDirectory(
  dir: string,
  options: { readonly name: string; readonly days: number },
): Promise<IdentityFiles> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  return save(dir, 'ca', await createAuthority(options))
}

/** Makes `NAME.crt` and `NAME.key` for a node, signed by the directory's authority. */
export async function addNode(dir: string, options: NodeOptions): Promise<IdentityFiles> {
  checkName(options.name)
  return save(dir, options.name, await issueNode(await authorityOf(dir), options))
}

/** Makes `NAME.crt` and `NAME.key` for a client, signed by the directory's authority. */
export async function addClient(dir: string, options: ClientOptions): Promise<IdentityFiles> {
  checkName(options.name)
  return save(dir, options.name, await issueClient(await authorityOf(dir), options))
}

/**
 * Writes the certificate `NAME.crt` of a directory into its list of those that no longer count, `revoked`; again changes
 * nothing.
 *
 * @returns the list, and the certificate's serial number in hexadecimal digits
 */
export async function revoke(dir: string, name: string): Promise<{ readonly list: string; readonly serial: string }> {
  checkName(name)
  const file = join(dir, `${name}.crt`)
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new Error(`no certificate of "${name}" in ${dir}: ${error.message}`, { cause: error })
  })
  const serial = new X509Certificate(text).serialNumber
  const list = join(dir, 'revoked')
  const before = await readFile(list, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  if (!before.split('\n').some((line) => line.startsWith(`${serial} `))) {
    // Whole or not at all: nodes read it at any moment.
    await writeFile(`${list}.new`, `${before}${serial} ${name} ${new Date().toISOString()}\n`, { mode: 0o644 })
    await rename(`${list}.new`, list)
  }
  return { list, serial }
}

function checkName(name: string): void {
  if (name === 'ca' || !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new Error(`"${name}" cannot be the name of a certificate: letters, digits and . _ - only, and not "ca"`)
}

async function authorityOf(dir: string): Promise<Issued> {
  try {
    const [cert, key] = await Promise.all(['ca.crt', 'ca.key'].map((name) => readFile(join(dir, name), 'utf8')))
    return { cert: cert as string, key: key as string }
  } catch (error) {
    throw new Error(`no authority in ${dir}: ${(error as Error).message}`, { cause: error })
  }
}

async function save(dir: string, name: string, { cert, key }: Issued): Promise<IdentityFiles> {
  const files = { ca: join(dir, 'ca.crt'), cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
  // The key first: a certificate is never there without it.
  await writeNew(files.key, key, 0o600)
  await writeNew(files.cert, cert, 0o644)
  return files
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode })
    await chmod(path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new Error(`${path} is there already; move it away to make a new one`, { cause: error })
    throw error
  }
}
