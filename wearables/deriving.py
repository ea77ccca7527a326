"""What an item's name and category say about it, for the fields that a file leaves out."""

from __future__ import annotations

import re
from functools import lru_cache

DEFAULTS = {
    "style": "Modern",
    "color": "Multi-Color",
    "material": "Cotton",
    "season": "All Season",
    "occasion": "Everyday",
    "size": "ONE_SIZE",
    "fit": "REGULAR",
}
_MATERIAL_OF = {
    "jewelry": "Metal",
    "footwear": "Leather",
    "face accessories": "Acetate",
    "arm & hand accessories": "Leather",
    "back & body accessories": "Canvas",
    "cultural / cosplay": "Polyester",
}
_VALUES: dict[str, dict[str, str]] = {
    "color": {
        "Black": "black ebony onyx",
        "White": "white pearl chalk",
        "Ivory": "ivory cream",
        "Grey": "grey gray charcoal slate ash",
        "Silver": "silver chrome",
        "Gold": "gold golden gilded",
        "Bronze": "bronze copper",
        "Rose Gold": "rose-gold",
        "Red": "red crimson scarlet ruby",
        "Burgundy": "burgundy maroon wine",
        "Pink": "pink blush fuchsia rose",
        "Orange": "orange amber rust",
        "Yellow": "yellow mustard lemon",
        "Green": "green emerald olive sage mint khaki",
        "Teal": "teal turquoise aqua",
        "Blue": "blue cobalt azure sapphire indigo",
        "Navy": "navy midnight",
        "Purple": "purple violet lavender plum",
        "Brown": "brown chocolate tan camel cognac",
        "Beige": "beige sand taupe nude",
    },
    "material": {
        "Cotton": "cotton jersey poplin",
        "Denim": "denim jeans jean",
        "Leather": "leather suede",
        "Wool": "wool merino cashmere tweed woolen",
        "Silk": "silk satin",
        "Linen": "linen",
        "Velvet": "velvet",
        "Lace": "lace",
        "Corduroy": "corduroy",
        "Fleece": "fleece",
        "Canvas": "canvas",
        "Nylon": "nylon",
        "Polyester": "polyester",
        "Mesh": "mesh",
        "Knit": "knit knitted crochet",
        "Metal": "steel brass titanium metal",
        "Silver": "sterling",
        "Beads": "beaded beads",
        "Crystal": "crystal",
        "Wood": "wooden wood bamboo",
        "Rubber": "rubber",
        "Acetate": "acetate tortoiseshell",
        "Straw": "straw raffia",
        "Feather": "feather feathered",
    },
    "style": {
        "Casual": "casual relaxed everyday tee hoodie sweatshirt jeans",
        "Classic": "classic timeless tailored polo",
        "Formal": "formal tuxedo evening gown",
        "Sporty": "sporty athletic track running training",
        "Vintage": "vintage retro victorian antique",
        "Bohemian": "boho bohemian fringed",
        "Streetwear": "streetwear urban graffiti distressed cargo oversized",
        "Minimalist": "minimalist plain sleek",
        "Gothic": "gothic studded",
        "Punk": "punk grunge",
        "Romantic": "floral ruffled embroidered",
        "Futuristic": "futuristic cyber neon holographic",
        "Anime": "anime manga",
        "Fantasy": "fantasy elven wizard dragon knight",
        "Traditional": "kimono sari hanbok kilt dirndl ao-dai cheongsam dashiki kaftan traditional ceremonial",
        "Preppy": "preppy argyle plaid checked",
        "Glamorous": "sequined glitter jewelled glamorous",
    },
    "season": {
        "Winter": "winter wool merino cashmere fleece parka puffer thermal fur-lined boots beanie mittens scarf",
        "Summer": "summer linen tank shorts sandals sandal sundress straw bikini beach sleeveless",
        "Spring": "spring floral raincoat",
        "Autumn": "autumn corduroy tweed cardigan trench",
    },
    "occasion": {
        "Formal": "formal tuxedo gown evening",
        "Office": "office tailored blazer oxford pencil",
        "Sport": "sporty athletic track running training yoga",
        "Party": "party sequined glitter cocktail glamorous",
        "Beach": "beach bikini sandals sundress",
        "Outdoor": "hiking outdoor parka backpack cargo",
        "Costume": "cosplay costume wizard dragon knight elven pirate superhero samurai anime",
        "Ceremony": "ceremonial kimono sari hanbok wedding",
    },
    "fit": {
        "SLIM": "slim skinny fitted pencil",
        "LOOSE": "loose oversized relaxed baggy wide-leg flowing",
    },
}
# What it is: the class of things that a name ends with.
_SUBCATEGORIES = {
    "Shirts": "shirt blouse oxford",
    "T-Shirts": "tee t-shirt tank top",
    "Knitwear": "sweater cardigan pullover turtleneck",
    "Sweatshirts": "hoodie sweatshirt",
    "Jackets": "jacket blazer coat parka vest raincoat",
    "Jeans": "jeans",
    "Trousers": "trousers pants chinos leggings joggers culottes",
    "Shorts": "shorts",
    "Skirts": "skirt",
    "Sneakers": "sneakers trainers",
    "Boots": "boots",
    "Sandals": "sandals slides",
    "Shoes": "loafers oxfords pumps heels flats brogues clogs moccasins",
    "Necklaces": "necklace pendant choker chain locket",
    "Earrings": "earrings hoops studs",
    "Rings": "ring band signet",
    "Brooches": "brooch pin",
    "Anklets": "anklet",
    "Eyewear": "glasses sunglasses spectacles goggles monocle",
    "Masks": "mask",
    "Headwear": "hat cap beanie headband tiara veil crown",
    "Watches": "watch",
    "Bracelets": "bracelet bangle cuff armlet",
    "Gloves": "gloves mittens gauntlets",
    "Bags": "backpack satchel bag tote pouch rucksack",
    "Belts": "belt sash",
    "Capes": "cape cloak shawl poncho wings",
    "Scarves": "scarf bandana",
    "Suits": "suit tuxedo pantsuit",
    "Dresses": "dress gown sundress",
    "Jumpsuits": "jumpsuit romper overalls",
    "Sets": "set ensemble outfit look tracksuit",
    "Robes": "robe kimono kaftan sari hanbok",
    "Costumes": "costume armor uniform",
}
_KNOWN: dict[str, list[tuple[str, str]]] = {}
for _field, _values in _VALUES.items():
    for _value, _spoken in _values.items():
        for _word in _spoken.split():
            _KNOWN.setdefault(_word, []).append((_field, _value))
_NOUNS = {word: name for name, spoken in _SUBCATEGORIES.items() for word in spoken.split()}
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def derive(category: str, name: str) -> dict[str, str | list[str]]:
    """The fields that the item's name says, and defaults for those that it does not.

    The first word that says something about a field is believed. Tags are the category and what the name said.
    """
    words = _WORD.findall(name.lower())
    said: dict[str, str] = {}
    for word in words:
        for field, value in _KNOWN.get(word, ()):
            said.setdefault(field, value)
    kind = next((_NOUNS[word] for word in reversed(words) if word in _NOUNS), category[:60])
    tags = dict.fromkeys([category.lower()[:40], *(value.lower() for value in said.values())])
    return {"subcategory": kind, "tags": list(tags), **_defaults(category.lower()), **said}


@lru_cache(maxsize=256)
def _defaults(category: str) -> dict[str, str]:
    return DEFAULTS | ({"material": _MATERIAL_OF[category]} if category in _MATERIAL_OF else {})
