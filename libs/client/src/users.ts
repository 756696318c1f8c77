import { notFound } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import type { ImageConfig } from './image.ts'
import { readImageFiles } from './image-files.ts'

/** Whom a process runs as. */
export interface User {
  uid: number
  gid: number
  additionalGids: number[]
}

const passwdPath = 'etc/passwd'
const groupPath = 'etc/group'

const isNumber = (text: string) => /^\d+$/.test(text)

/** Rows of fields, as in passwd(5) and group(5). */
const rowsOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':'))

/**
 * Whom `USER[:GROUP]` means in an image, each a number or a name; nobody named is root. Names are looked up in the files
 * of the image, which is asked for in that case only. A user by name has the groups that list it; one with a group named
 * has that group only.
 *
 * @throws NOT_FOUND for a name that the image does not know
 */
export async function findUser(
  client: Client,
  text: string,
  image: () => Promise<ImageConfig>,
  settings: CallSettings,
): Promise<User> {
  const [user = '', group] = text.split(':', 2)
  const number = user === '' || user === 'root' ? '0' : user
  const groupNumber = group === 'root' ? '0' : group
  if (isNumber(number) && (groupNumber === undefined || isNumber(groupNumber))) {
    const gid = Number(groupNumber ?? 0)
    return { uid: Number(number), gid, additionalGids: [gid] }
  }
  const { layers } = await image()
  const files = await readImageFiles(client, layers, [passwdPath, groupPath], settings)
  const users = rowsOf(files.get(passwdPath) ?? '')
  const groups = rowsOf(files.get(groupPath) ?? '')
  const entry = users.find(([name]) => name === user)
  if (entry === undefined && !isNumber(number)) throw notFound(`user "${user}" in /${passwdPath} of the image`)
  const uid = Number(entry?.[2] ?? number)
  if (groupNumber === undefined) {
    const gid = Number(entry?.[3] ?? 0)
    const others = groups
      .filter(([, , , members = '']) => members.split(',').includes(user))
      .map((row) => Number(row[2]))
    return { uid, gid, additionalGids: [...new Set([gid, ...others])] }
  }
  const row = groups.find(([name]) => name === groupNumber)
  if (row === undefined && !isNumber(groupNumber))
    throw notFound(`group "${groupNumber}" in /${groupPath} of the image`)
  const gid = Number(row?.[2] ?? groupNumber)
  return { uid, gid, additionalGids: [gid] }
}
