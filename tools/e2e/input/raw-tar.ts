const block = 512

/** Types of members that a layer can have, as their letter in the header. */
export type MemberType = 'file' | 'hard link' | 'symlink' | 'character device' | 'block device' | 'directory'
const letters: Record<MemberType, string> = {
  file: '0',
  'hard link': '1',
  symlink: '2',
  'character device': '3',
  'block device': '4',
  directory: '5',
}

export interface Member {
  readonly name: string
  readonly type?: MemberType
  readonly content?: string
  /** Bytes that follow but are not given here. */
  readonly size?: number
  readonly link?: string
  readonly device?: readonly [major: number, minor: number]
}

/** A header of the USTAR format with the name as it is given: nothing is cleaned, nothing is refused. */
export function headerOf({ name, type = 'file', content = '', size, link = '', device = [0, 0] }: Member): Buffer {
  if (Buffer.byteLength(name) > 100 || Buffer.byteLength(link) > 100) throw new Error(`too long for a header: ${name}`)
  const header = Buffer.alloc(block)
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`
  header.write(name, 0)
  header.write(octal(0o644, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(size ?? Buffer.byteLength(content), 12), 124)
  header.write(octal(1_700_000_000, 12), 136)
  header.write('        ', 148)
  header.write(letters[type], 156)
  header.write(link, 157)
  header.write('ustar\x0000', 257)
  header.write(octal(device[0], 8), 329)
  header.write(octal(device[1], 8), 337)
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  )
  return header
}

/** An archive of members, word for word. */
export function rawTar(members: Iterable<Member>): Buffer {
  const pieces: Buffer[] = []
  for (const member of members) {
    const content = Buffer.from(member.content ?? '')
    pieces.push(headerOf(member), content, Buffer.alloc(-content.length & (block - 1)))
  }
  return Buffer.concat([...pieces, Buffer.alloc(2 * block)])
}
