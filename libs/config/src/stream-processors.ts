import { isTable, type Refuse } from './config-error.ts'

/** A program that turns a layer of one media type into one of another, as containerd's configuration describes it. */
export interface StreamProcessor {
  readonly id: string
  readonly accepts: readonly string[]
  readonly returns: string
  readonly path: string
  readonly args: readonly string[]
  readonly env: readonly string[]
}

/** What the default file says of these tables. */
export const streamProcessorsText = [
  'Programs that make a layer readable, such as an encrypted one: the blob comes on standard input, what it `returns`',
  'goes to standard output.',
  '',
  '[stream_processors.decrypt]',
  'accepts = ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted"]',
  'returns = "application/vnd.oci.image.layer.v1.tar+gzip"',
  'path = "/usr/local/bin/ctd-decoder"',
  'args = ["--decryption-keys-path", "/etc/containerd/ocicrypt/keys"]',
  'env = []',
]

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string')

/** The table `stream_processors`: one named table for each program. */
export function readStreamProcessors(table: unknown, refuse: Refuse): StreamProcessor[] {
  if (!isTable(table)) throw refuse(['stream_processors'], 'stream_processors must be a table of tables')
  return Object.entries(table).map(([id, value]) => {
    const at = ['stream_processors', id]
    const wrong = (key: string, wanted: string) => refuse([...at, key], `${at.join('.')}.${key} must be ${wanted}`)
    if (!isTable(value)) throw refuse(at, `${at.join('.')} must be a table`)
    const { accepts, returns, path, args = [], env = [], ...unknown } = value
    for (const key of Object.keys(unknown)) throw refuse([...at, key], `unknown key "${at.join('.')}.${key}"`)
    if (!isTexts(accepts) || accepts.length === 0) throw wrong('accepts', 'a list of media types')
    if (typeof returns !== 'string' || returns === '') throw wrong('returns', 'a media type')
    if (typeof path !== 'string' || path === '') throw wrong('path', 'the path of a program')
    if (!isTexts(args)) throw wrong('args', 'a list of strings')
    if (!isTexts(env)) throw wrong('env', 'a list of NAME=VALUE')
    return { id, accepts, returns, path, args, env }
  })
}
