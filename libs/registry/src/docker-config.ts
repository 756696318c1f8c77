import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { failedPrecondition } from '@flotilla/rpc'
import type { Credential, CredentialSource } from './credential.ts'

type Table = Readonly<Record<string, unknown>>

/** Milliseconds that a credential helper has; it may ask a service of its own. */
const helperTimeout = 30_000

/**
 * Credentials as `docker login` leaves them: of Docker's `config.json`, read at each question, and of the helpers
 * (`docker-credential-NAME` on PATH) that it names.
 *
 * @throws FAILED_PRECONDITION naming the file or the helper when one cannot be used; a file that is not there knows nobody
 */
export function dockerConfigCredentials(file: string): CredentialSource {
  return async (host) => {
    let config: Table
    try {
      config = table(JSON.parse(await readFile(file, 'utf8')))
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw failedPrecondition(`${file} cannot be read: ${error}`, { cause: error })
    }
    const helpers = table(config.credHelpers)
    for (const server of serverNames(host)) {
      const helper = helpers[server] ?? config.credsStore
      const found = typeof helper === 'string' && helper !== '' ? await askHelper(helper, server) : undefined
      const credential = found ?? credentialOf(table(table(config.auths)[server]))
      if (credential !== undefined) return credential
    }
    return undefined
  }
}

function table(value: unknown): Table {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

/** The names that Docker has stored a host under over the years. */
function serverNames(host: string): string[] {
  if (host === 'docker.io' || host === 'registry-1.docker.io' || host === 'index.docker.io')
    return ['https://index.docker.io/v1/', 'docker.io', 'registry-1.docker.io', 'index.docker.io']
  return [host, `https://${host}`, `https://${host}/v1/`, `https://${host}/v2/`, `http://${host}`]
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function credentialOf(entry: Table): Credential | undefined {
  const token = text(entry.registrytoken)
  if (token !== '') return { kind: 'header', value: `Bearer ${token}` }
  const identity = text(entry.identitytoken)
  if (identity !== '') return { kind: 'refresh', token: identity }
  const pair = Buffer.from(text(entry.auth), 'base64').toString()
  const colon = pair.indexOf(':')
  const username = colon > 0 ? pair.slice(0, colon) : text(entry.username)
  // Some writers pad the password with zero bytes.
  const password = colon > 0 ? pair.slice(colon + 1).replace(/\0+$/, '') : text(entry.password)
  return username === '' ? undefined : { kind: 'password', username, password }
}

async function askHelper(name: string, server: string): Promise<Credential | undefined> {
  const command = `docker-credential-${name}`
  const fail = (why: unknown) => failedPrecondition(`${command} gives no credentials for ${server}: ${why}`)
  if (!/^[\w.-]+$/.test(name)) throw fail('no name of a helper')
  const { output, code } = await run(command, server).catch((error: unknown) => {
    throw fail(error)
  })
  if (code !== 0) {
    if (/credentials not found/i.test(output)) return undefined
    throw fail(output.trim() || `it ended with ${code}`)
  }
  let answer: Table
  try {
    answer = table(JSON.parse(output))
  } catch {
    throw fail('no JSON')
  }
  const username = text(answer.Username)
  const secret = text(answer.Secret)
  if (username === '' && secret === '') return undefined
  return username === '<token>' ? { kind: 'refresh', token: secret } : { kind: 'password', username, password: secret }
}

function run(command: string, input: string): Promise<{ output: string; code: number | null }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], timeout: helperTimeout })
    let output = ''
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ output, code }))
    // A helper that does not read has ended, and says so by its code.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
