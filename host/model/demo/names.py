# SPDX-License-Identifier: Apache-2.0
"""Words that the JSON sentences are filled with."""

FIRST = """Maria Anna Peter Paul Lisa Tom Emma Noah Olivia Liam Sophia Lucas Mia Ben Laura Max Julia Jan Eva Karl Ida Hugo Nina
Oscar Clara Felix Sara David Leo Elena Marco Paula Ivan Olga Pedro Lucia Diego Carmen Jose Rosa Luis Ines Rui Teresa Nuno
Aisha Omar Fatima Ali Leila Hassan Yusuf Amina Karim Zara Wei Mei Li Chen Yuki Hana Kenji Sakura Ravi Priya Arjun Anita
Sanjay Deepa Kofi Ama Kwame Zola Thabo Nia John Mary James Linda Robert Susan Michael Karen William Nancy George Helen
Edward Alice Frank Grace Henry Ruth Jack Ella Sam Lucy Adam Kate Erik Ingrid Lars Astrid Sven Freya Piotr Ewa Jakub Zofia
Milan Jana Petra Andrej Irina Dmitri Sofia Nikos Eleni Yannis Chloe Pierre Claire Louis Camille Jules Amelie Matteo Giulia
Luca Chiara Bruno Silvia Andrea Marta Pablo Gabriela Rafael Beatriz Tiago Joana Finn Greta Moritz Heidi Otto Frida""".split()

LAST = """Smith Jones Brown Miller Davis Wilson Moore Taylor Clark Lewis Walker Hall Young King Wright Hill Green Baker Adams
Nelson Carter Turner Parker Evans Collins Stewart Morris Rogers Reed Cook Bell Murphy Cooper Ward Gray Silva Santos Costa
Pereira Garcia Lopez Martinez Perez Torres Ramos Rossi Bianchi Romano Ricci Marino Greco Weber Schmidt Fischer Meyer Wagner
Becker Koch Richter Klein Wolf Braun Hofmann Lang Dubois Moreau Laurent Simon Michel Leroy Roux Novak Kowalski Nowak Horvat
Petrov Ivanov Popov Larsen Hansen Berg Lund Dahl Virtanen Nieminen Tanaka Suzuki Sato Kim Park Lee Wang Zhang Khan Patel
Singh Sharma Mehta Okafor Mensah Diallo Haddad Nasser Cohen Levi Papadakis Kaya Demir""".split()

CITIES = """Berlin Paris London Rome Madrid Lisbon Porto Vienna Prague Warsaw Budapest Athens Dublin Oslo Stockholm Helsinki
Copenhagen Amsterdam Brussels Zurich Geneva Munich Hamburg Cologne Frankfurt Leipzig Dresden Lyon Nice Marseille Toulouse
Milan Naples Turin Florence Venice Bologna Seville Valencia Barcelona Bilbao Granada Krakow Gdansk Riga Vilnius Tallinn
Zagreb Belgrade Sofia Bucharest Istanbul Ankara Cairo Tunis Lagos Accra Nairobi Dakar Tokyo Osaka Kyoto Seoul Beijing
Shanghai Delhi Mumbai Chennai Bangkok Hanoi Manila Jakarta Sydney Perth Auckland Boston Chicago Denver Seattle Austin
Dallas Houston Miami Atlanta Toronto Montreal Ottawa Vancouver Lima Bogota Quito Santiago Havana Leeds York Bristol Oxford
Glasgow Cardiff Ghent Bruges Utrecht Delft Basel Bern Graz Linz Salzburg Malmo Bergen Aarhus Turku Tampere""".split()

COUNTRIES = """Germany France Italy Spain Portugal Poland Austria Norway Sweden Finland Denmark Greece Ireland Japan China India
Brazil Canada Mexico Egypt Kenya Ghana Peru Chile Turkey Croatia Hungary Iceland Latvia Belgium""".split()

PRODUCTS = """books chairs tables lamps phones shirts shoes bikes cameras clocks pens cups plates bottles bags boxes keys maps
radios screens printers cables batteries candles carpets mirrors pillows towels jackets hats gloves scarves rings watches
apples oranges lemons carrots potatoes onions eggs loaves cakes pizzas tickets flowers plants stamps drums guitars pianos
balls tents boats ropes hammers nails screws drills brushes pots pans forks spoons knives sofas beds desks shelves doors
windows bricks tiles wheels pumps fans filters sensors motors cards servers keyboards mice routers switches""".split()

COLOURS = "red blue green yellow black white grey brown orange purple pink silver golden dark-blue violet beige".split()

JOBS = """teacher nurse doctor baker driver pilot farmer lawyer painter plumber singer writer cook judge engineer carpenter
librarian gardener butcher dentist chemist designer waiter student mechanic electrician journalist photographer programmer
translator architect tailor fisherman policeman firefighter clerk manager musician""".split()

EVENTS = """meeting concert workshop party lecture match exam interview wedding dinner course seminar exhibition race festival
conference review training play reading""".split()

MONTHS = "January February March April May June July August September October November December".split()

COMPANIES = """Nordwind Bluefield Acme Hilltop Riverside Greenleaf Ironworks Sunrise Northgate Lakeview Oakwood Starline Redstone
Clearwater Westhaven Brightside Foxglove Silverline Moonbeam Goldcrest""".split()

STARTS = "B Br C Ch D Dr F Fl G Gr H J K Kr L M N P Pr R S St T Tr V W Z Qu Sh Th Y".split()
MIDDLES = "a e i o u ai ou ei ar er or an en in on al el il am im".split()
ENDS = "b d f g k l m n p r s t v x z nd rk st lo ra ny vik ton sen ova ez ia us".split()


def made_up(rng):
    """A name that no list has, so that the model learns to copy and not to remember."""
    name = rng.choice(STARTS) + rng.choice(MIDDLES)
    for _ in range(rng.choice([0, 1, 1, 2])):
        name += rng.choice("bdfgklmnprstvz") + rng.choice(MIDDLES)
    return name + rng.choice(ENDS)
