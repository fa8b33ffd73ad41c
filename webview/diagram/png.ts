import { t } from '../common/l10n.js';

/** Twice the pixels, for screens and slides. */
const SCALE = 2;
/** What browsers refuse to make a canvas of. */
const MOST_PIXELS = 16_000;

/** A stand-alone SVG as PNG, in base64. */
export async function pngOf(svg: string): Promise<string> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  const scale = Math.min(SCALE, MOST_PIXELS / Math.max(image.width, image.height));
  canvas.width = Math.floor(image.width * scale);
  canvas.height = Math.floor(image.height * scale);
  const context = canvas.getContext('2d');
  if (!context) throw new Error(t('The picture cannot be drawn as PNG here; save it as SVG.'));
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const [, base64] = canvas.toDataURL('image/png').split(',');
  return base64 ?? '';
}
