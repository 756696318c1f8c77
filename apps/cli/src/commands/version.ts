import type { Command } from '../command.ts'
import { asJson, print } from '../print.ts'

export const version: Command = {
  name: 'version',
  summary: 'Tell the version of whom we are connected to',
  async run({ client, json }) {
    const found = await client.version.version({})
    print(json ? asJson(found) : `${found.version} ${found.revision}`.trim())
    return undefined
  },
}
