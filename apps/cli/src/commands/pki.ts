import { parseGrant, verbs } from '@flotilla/access'
import { addClient, addNode, type IdentityFiles, initDirectory, revoke } from '@flotilla/pki'
import { type Command, type Context, number, text, texts, UsageError } from '../command.ts'
import { asJson, print } from '../print.ts'

const defaultDirectory = '/etc/flotilla/pki'

const shared = {
  dir: {
    type: 'string',
    value: 'DIR',
    text: `where the authority is; ${defaultDirectory} unless given`,
    completes: 'files',
  },
  days: { type: 'string', value: 'DAYS', text: 'how long it counts; 3650 for an authority, else 365 unless given' },
} as const

const directoryOf = ({ values }: Context) => text(values, 'dir') ?? defaultDirectory

function daysOf({ values }: Context, usual: number): number {
  const days = number(values, 'days') ?? usual
  if (days < 1) throw new UsageError('--days must be at least 1')
  return days
}

function tell({ json }: Context, files: IdentityFiles): undefined {
  if (json) print(asJson(files))
  else for (const [what, path] of Object.entries(files)) print(`${what.padEnd(4)} ${path}`)
}

function grantOf(word: string) {
  try {
    return parseGrant(word)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

export const pki: readonly Command[] = [
  {
    name: 'pki revoke',
    arguments: 'NAME',
    summary: 'Write a certificate into the list of those that no longer count',
    options: { dir: shared.dir },
    details: 'Copy the list to the nodes, which read it again by themselves; each is told where by --revoked.',
    count: { min: 1, max: 1 },
    async run(context) {
      const revoked = await revoke(directoryOf(context), context.args[0] ?? '')
      print(context.json ? asJson(revoked) : `${revoked.serial} is in ${revoked.list}`)
      return undefined
    },
  },
  {
    name: 'pki init',
    summary: 'Make the authority of a cluster: ca.crt for everybody, ca.key to be kept safe',
    options: { ...shared, name: { type: 'string', value: 'NAME', text: 'of the authority; flotilla unless given' } },
    async run(context) {
      const name = text(context.values, 'name') ?? 'flotilla'
      return tell(context, await initDirectory(directoryOf(context), { name, days: daysOf(context, 3650) }))
    },
  },
  {
    name: 'pki node',
    arguments: 'NAME',
    summary: "Make a node's certificate and key",
    options: {
      ...shared,
      address: {
        type: 'string',
        short: 'a',
        multiple: true,
        value: 'HOST',
        text: 'host name or IP address by which others reach it, besides its name',
      },
    },
    count: { min: 1, max: 1 },
    async run(context) {
      const name = context.args[0] ?? ''
      const addresses = texts(context.values, 'address')
      return tell(context, await addNode(directoryOf(context), { name, addresses, days: daysOf(context, 365) }))
    },
  },
  {
    name: 'pki client',
    arguments: 'NAME',
    summary: "Make a client's certificate and key, with what it may do",
    options: {
      ...shared,
      allow: {
        type: 'string',
        multiple: true,
        value: 'NAMESPACE:VERB,…',
        text: `what it may do in a namespace, * for all of them; verbs are ${verbs.join(', ')}`,
      },
    },
    details: `
read looks, write changes images, content, containers and snapshots, exec starts and ends tasks (and is as good as root
on a node), admin directs the cluster and its namespaces.

  flotilla pki client alice --allow team:read,write,exec --allow '*:read'`,
    count: { min: 1, max: 1 },
    async run(context) {
      const grants = texts(context.values, 'allow').map(grantOf)
      if (grants.length === 0) throw new UsageError('--allow is needed: a certificate without it may do nothing')
      const name = context.args[0] ?? ''
      return tell(context, await addClient(directoryOf(context), { name, grants, days: daysOf(context, 365) }))
    },
  },
]
