import { dateOf } from '@flotilla/client'
import { type Command, flag, texts } from '../command.ts'
import { age, print, printList, size } from '../print.ts'

export const images: Command = {
  name: 'images',
  summary: 'List images',
  options: {
    filter: { type: 'string', short: 'f', multiple: true, value: 'FILTER', text: "containerd's, as in name~=busybox" },
    quiet: { type: 'boolean', short: 'q', text: 'only their names' },
  },
  async run({ client, values, json }) {
    const { images } = await client.images.list({ filters: texts(values, 'filter') })
    if (flag(values, 'quiet') && !json) for (const { name } of images) print(name)
    else
      printList(images, json, ['NAME', 'DIGEST', 'TYPE', 'SIZE OF TARGET', 'AGE'], (image) => [
        image.name,
        image.target?.digest ?? '',
        image.target?.mediaType ?? '',
        size(image.target?.size ?? 0),
        age(dateOf(image.createdAt)),
      ])
    return undefined
  },
}
